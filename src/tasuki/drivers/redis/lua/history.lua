-- The history of a message: its failures; 's' if it is a suspect, as its last delivery ended without a settlement; 'r' if
-- the start of its delivery is recorded, and counted as a failure until it is settled; and ':' with the token of the last
-- delivery, from the end of its lease until the message is handed out again, and ':r' if its start was recorded.
local function history(place)
  local found = redis.call('HGET', ATTEMPTS, place) or '0'
  local failures, suspect, started, token = string.match(found, '^(%d+)(s?)(r?)(.*)$')
  return tonumber(failures), suspect, started == 'r', token
end

local function remember(place, failures, marks)
  if failures == 0 and marks == '' then
    redis.call('HDEL', ATTEMPTS, place)
  else
    redis.call('HSET', ATTEMPTS, place, text(failures) .. marks)
  end
end
