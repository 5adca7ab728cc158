-- Find the messages of some ids that are not held, as far as one portion of the messages goes.
-- ARGV: the size of a portion, where to go on ('0' at first), and the ids
-- Returns their places, their ids, where to go on ('0' at the end), how many messages there were, and their bytes.

local wanted = {}
for index = 3, #ARGV do
  wanted[ARGV[index]] = true
end
-- A content is the array [time of publishing, [id, body, headers]]: its id begins behind the time and two bytes of arrays.
local found = redis.call('HSCAN', MESSAGES, ARGV[2], 'COUNT', ARGV[1])
local places, ids, size = {}, {}, 0
for index = 1, #found[2], 2 do
  size = size + #found[2][index + 1]
  local is_ours, _, id = pcall(cmsgpack.unpack_one, found[2][index + 1], 11)
  if is_ours and wanted[id] then
    places[#places + 1], ids[#ids + 1] = found[2][index], id
  end
end
local held, waiting, theirs = held_among(places), {}, {}
for index, place in ipairs(places) do
  if not held[place] then
    waiting[#waiting + 1], theirs[#theirs + 1] = place, ids[index]
  end
end
tell(before)
return {waiting, theirs, found[1], #found[2] / 2, size}
