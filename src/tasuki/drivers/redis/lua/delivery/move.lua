-- End deliveries of one queue, and store messages in another: each delivery with its own, or not at all. Between the
-- functions publish and settle, which are the scripts of these names. Returns for each move 0: done, 1: stale, 2: no room,
-- 3: not tried, as a publish to that queue has to wait for the disk or replicas before anything is acked.
-- KEYS: the keys of the target queue, then the keys of the source queue.
-- ARGV: of each move the receipt, the number of its words, and those words: what publish.lua takes

local half = #KEYS / 2
local target, source = {unpack(KEYS, 1, half)}, {unpack(KEYS, half + 1)}
local options = redis.call('HMGET', target[1], 'ordering', 'wait')
if not options[1] then
  return {err = 'UNDECLARED the queue does not exist at the broker'}
end
local must_wait = options[2] and options[2] ~= ''

local LEASES, ATTEMPTS = source[5], source[6]
local function is_held(receipt)
  if redis.call('ZSCORE', LEASES, receipt) then
    return true
  end
  -- Its lease has ended, and the message was not handed out again.
  local place, token = string.match(receipt, '^([^:]+)(:.*)$')
  local last = place and string.match(redis.call('HGET', ATTEMPTS, place) or '', '^%d+s?r?(.*)$')
  return place and (last == token or last == token .. ':r')
end

local answers, at = {}, 1
while at <= #ARGV do
  local receipt, count = ARGV[at], tonumber(ARGV[at + 1])
  local answer = 0
  if not is_held(receipt) then
    answer = 1
  elseif must_wait then
    answer = 3
  elseif count > 1 and publish(target, {unpack(ARGV, at + 2, at + 1 + count)}) < (count - 1) / 6 then
    answer = 2
  else
    settle(source, {'1', '0', receipt})
  end
  answers[#answers + 1] = answer
  at = at + 2 + count
end
return answers
