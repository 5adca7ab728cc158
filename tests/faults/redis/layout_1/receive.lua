-- Hand out up to limit messages, or say in how many microseconds to look again (-1: no time is known).
-- ARGV: limit, token, most bytes (a receive stops after as many)

local limit, token, most = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local state = redis.call('HMGET', STATE, 'ordering', 'lease', 'span')
if not state[1] then
  return UNDECLARED
end
local time = now()
local swept = sweep(time, state[1])
local places = redis.call('ZRANGE', READY, 0, limit - 1)
if #places == 0 then
  keep(state[3])
  local next_change = math.min(score_of_first(DELAYED), score_of_first(LEASES))
  return next_change == math.huge and -1 or math.max(next_change - time, 0)
end

local taken, contents, size = {}, {}, 0
local seen = 0
while seen < #places and size < most do
  local last = math.min(seen + 32, #places)
  local found = redis.call('HMGET', MESSAGES, unpack(places, seen + 1, last))
  for index, content in ipairs(found) do
    if content then  -- else somebody deleted it
      taken[#taken + 1] = places[seen + index]
      contents[#contents + 1] = content
      size = size + #content
    end
  end
  seen = last
end
redis.call('ZREMRANGEBYRANK', READY, 0, seen - 1)
local leases, ends = {}, text(time + state[2])
for index, place in ipairs(taken) do
  leases[2 * index - 1], leases[2 * index] = ends, place .. ':' .. token
end
each('ZADD', LEASES, leases)
local attempts = {}
if #taken > 0 and redis.call('EXISTS', ATTEMPTS) == 1 then
  attempts = redis.call('HMGET', ATTEMPTS, unpack(taken))
  for index, history in ipairs(attempts) do
    if history and string.find(history, ':', 1, true) then
      attempts[index] = string.match(history, '^[^:]+')
      redis.call('HSET', ATTEMPTS, taken[index], attempts[index])
    end
  end
end
keep(state[3])
if swept > 0 and redis.call('EXISTS', READY) == 1 then
  redis.call('PUBLISH', STATE, '')
end
return {taken, contents, attempts}
