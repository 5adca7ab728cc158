-- Deliveries that end at this time or earlier are silent. Their process has died if it hears no more, now and at the look
-- before: a living one that lost its connection hears again until then (ADR 63). A process that hears says so in its tokens by
-- a dot behind its name, of eight characters. Returns how many deliveries it took back.
local MOST = 10000  -- that one script looks at; the leases of the others end by themselves

local function lose_silent(time, silent, ordering)
  if silent <= time then
    return 0
  end
  -- A process that lived since the look before has renewed its deliveries, which would not be silent for long enough yet.
  local before = stands == '1' and last_look > time - silence and gone_before or ''
  local lost, hears, gone = {}, {}, {}
  local found = redis.call(
    'ZRANGEBYSCORE', LEASES, '(' .. text(time), text(silent), 'WITHSCORES', 'LIMIT', 0, MOST)
  for index = 1, #found, 2 do
    local receipt = found[index]
    local owner = string.match(receipt, '^[^:]+:(........)%.')
    if owner and hears[owner] == nil then
      hears[owner] = notify(owner, 'are you there?') > 0
      gone[#gone + 1] = not hears[owner] and owner or nil
    end
    if owner and not hears[owner] and #lost < PORTION and tonumber(found[index + 1]) <= time + lease - silence
      and string.find(before, owner, 1, true) then
      lost[#lost + 1] = receipt
    end
  end
  run_at_maxmemory()
  local looked_at = #lost < PORTION and time or last_look  -- else there are more, which need no other look
  redis.call('HSET', STATE, 'deaths', text(looked_at) .. ' ' .. table.concat(gone, ' '))
  each('ZREM', LEASES, lost)
  lose(lost, ordering, true)
  return #lost
end
