-- One step of a change of the lanes; 'laning' in STATE says how far it is:
-- held:cursor    held messages are counted in their lanes: until then none is handed out
-- ready:place    ready messages get into their lanes, from the one behind this on; those that become ready are there
local function convert_lanes()
  local it = gate()
  local step, cursor = string.match(it.laning, '^(%l+):(.*)$')
  if step == 'held' then
    local found = redis.call('ZSCAN', LEASES, cursor, 'COUNT', PORTION)
    local places = {}
    for index = 1, #found[2], 2 do
      places[#places + 1] = place_of(found[2][index])
    end
    add_all(LANES, members_of(lanes_of(places), places, true))
    it.laning = found[1] ~= '0' and 'held:' .. found[1] or 'ready:-inf'
  else
    local places = redis.call('ZRANGEBYSCORE', READY, cursor, '+inf', 'LIMIT', 0, PORTION)
    enter(places)
    it.laning = #places == PORTION and 'ready:(' .. places[#places]
  end
  if it.laning then
    redis.call('HSET', STATE, 'laning', it.laning)
  else
    redis.call('HDEL', STATE, 'laning')
  end
end
