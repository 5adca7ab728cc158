-- The history of a message: its failures; 's' if it is a suspect, as its last delivery ended without a settlement; 'r' if
-- the start of its delivery is recorded, and counted as a failure until it is settled; and ':' with the token of the last
-- delivery, from the end of its lease until the message is handed out again, and ':r' if its start was recorded.
local function parts_of(history)
  local failures, suspect, started, token = string.match(history or '0', '^(%d+)(s?)(r?)(.*)$')
  return tonumber(failures), suspect, started == 'r', token
end

-- 'histories' by the index of the message; '0' is none.
local function remember(places, histories)
  local changed, none = {}, {}
  for index, place in ipairs(places) do
    if histories[index] == '0' then
      none[#none + 1] = place
    elseif histories[index] then
      changed[#changed + 1], changed[#changed + 2] = place, histories[index]
    end
  end
  each('HDEL', ATTEMPTS, none)
  each('HSET', ATTEMPTS, changed)
end
