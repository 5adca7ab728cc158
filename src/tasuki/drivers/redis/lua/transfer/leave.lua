-- Messages that are to leave the queue.
-- ARGV: how many, and their places; behind these the ids that they must have, to see which of them wait: without ids they are
--   removed
-- Returns for each 1 if it waits, else 0; or how many were removed.

local count = tonumber(ARGV[1])
local places = {unpack(ARGV, 2, 1 + count)}
if #ARGV == 1 + count then
  take_out(places, ordering)
  tell(before)
  return count
end
local contents, held, waits = answers('HMGET', MESSAGES, places), held_among(places), {}
for index, place in ipairs(places) do
  local is_ours, _, id = pcall(cmsgpack.unpack_one, contents[index] or '', 11)
  local wanted = ARGV[1 + count + index]
  -- What another program put there is named after its place.
  local is_it = contents[index] and (is_ours and id == wanted or place == wanted)
  waits[index] = is_it and not held[place] and 1 or 0
end
tell(before)
return waits
