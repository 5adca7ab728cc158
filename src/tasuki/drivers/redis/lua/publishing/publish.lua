-- Store messages, in order, for which there is room. Returns how many are stored; all after those are rejected. With
-- a list the publisher must wait before it confirms them: how many, 1 for the log on the disk or 0, and how many replicas.
-- ARGV: 0 if the messages have no options, 1 if they have, 2 if they also replace stored messages that are removed next
--   (so that they are stored at maxmemory), 3 if besides all are stored or none; and 'l' behind it if they have lanes. Then
--   of each message its content, and with options also priority, delay in microseconds, key ('' for none), 1 if it is
--   stored although its id may be known, which it does not change, and with lanes its lane

local ordering, most, window, span, wait = queue_state('most', 'window', 'span', 'wait')
if not ordering then
  return {err = UNDECLARED}
end
local function answer(stored)
  if not wait or wait == '' then
    return stored
  end
  local fsync, replicas = string.match(wait, '^(%d+) (%d+)$')
  return {stored, tonumber(fsync), tonumber(replicas)}
end
local has_options = ARGV[1] ~= '0'
local size = has_options and 4 + #ARGV[1] or 1
local count = (#ARGV - 1) / size
local room = count
if most ~= '' then
  room = math.max(tonumber(most) - redis.call('HLEN', MESSAGES), 0)
end
local time = now()
-- A content is MessagePack; with this before it, it is the array [time of publishing, content].
local head = struct.pack('>BBd', 0x92, 0xcb, time / 1000000)

window = tonumber(window)
if not has_options and not window and not limits then
  local stored = math.min(count, room)
  if stored == 0 then
    return 0
  end
  local number = redis.call('HINCRBY', STATE, 'seq', stored) - stored
  local messages, places = {}, {}
  for index = 1, stored do
    local place = text(number + index)
    messages[2 * index - 1], messages[2 * index] = place, head .. ARGV[index + 1]
    places[2 * index - 1], places[2 * index] = place, place
  end
  each('HSET', MESSAGES, messages)
  each('ZADD', READY, places)
  keep(span)
  if wake(stored) < stored and redis.call('ZCARD', READY) == stored then  -- not tell(): no delay can have changed
    tell_all()
  end
  return answer(stored)
end
