-- Remove messages that are not held. Returns how many.
local function take_out(places, ordering)
  if ordering == 'key' then
    leave_lines(places, answers('HMGET', KEYED, places), answers('ZMSCORE', READY, places))
  end
  unready(places)
  each('ZREM', DELAYED, places)
  each('HDEL', MESSAGES, places)
  each('HDEL', ATTEMPTS, places)
  each('HDEL', ERRORS, places)
  each('HDEL', KEYED, places)
  if limits then
    each('HDEL', LANED, places)
  end
  return #places
end

-- The same for messages of which some may be held: those stay.
local function take_out_waiting(places, ordering)
  local held, waiting = held_among(places), {}
  for _, place in ipairs(places) do
    if not held[place] then
      waiting[#waiting + 1] = place
    end
  end
  return take_out(waiting, ordering)
end
