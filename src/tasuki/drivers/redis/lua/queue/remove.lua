-- Remove the messages of some ids that are not held, as far as one portion of the messages goes.
-- ARGV: the size of a portion, where to go on ('0' at first), a number of places and these, and the ids; without places any
--   message of the ids is meant
-- Returns how many, and where to go on: '0' at the end.

local wanted, only = {}, {}
local last = 3 + tonumber(ARGV[3])
for index = 4, last do
  only[ARGV[index]] = true
end
for index = last + 1, #ARGV do
  wanted[ARGV[index]] = true
end
-- A content is the array [time of publishing, [id, body, headers]]: its id begins behind the time and two bytes of arrays.
local found = redis.call('HSCAN', MESSAGES, ARGV[2], 'COUNT', ARGV[1])
local places = {}
for index = 1, #found[2], 2 do
  local is_ours, _, id = pcall(cmsgpack.unpack_one, found[2][index + 1], 11)
  if is_ours and wanted[id] and (last == 3 or only[found[2][index]]) then
    places[#places + 1] = found[2][index]
  end
end
local count = take_out_waiting(places, ordering)
tell(before)
return {count, found[1]}
