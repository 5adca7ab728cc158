-- Take waiting messages out of one queue, and store messages in another, each for its own. Behind the functions publish and
-- leave, which are the scripts of these names. Returns a list: for each 0: done, 1: it does not wait there, 2: no room; and
-- behind that list what publish.lua returns for a publisher that must wait.
-- KEYS: the keys of the target queue, then the keys of the source queue.
-- ARGV: how many, their places, their ids, and what publish.lua takes: the same number of messages

local half = #KEYS / 2
local target, source = {unpack(KEYS, 1, half)}, {unpack(KEYS, half + 1)}
local count = tonumber(ARGV[1])
local first = 2 + 2 * count
local size = (#ARGV - first) / count

local waits = leave(source, {unpack(ARGV, 1, first - 1)})
local answers, places, words = {}, {}, {ARGV[first]}
for index = 1, count do
  answers[index] = 1
  if not waits.err and waits[index] == 1 then
    answers[index] = 2
    places[#places + 1] = ARGV[1 + index]
    for word = first + 1 + (index - 1) * size, first + index * size do
      words[#words + 1] = ARGV[word]
    end
  end
end
if #places == 0 then
  return {answers}
end

local function go(number)
  for index = 1, count do
    if answers[index] == 2 and number > 0 then
      answers[index], number = 0, number - 1
    end
  end
end

local told
if source[1] == target[1] then  -- each leaves its place to the one that is stored for it
  local most = redis.call('HGET', target[1], 'most')
  if most ~= '' and redis.call('HLEN', target[2]) > tonumber(most) then
    return {answers}
  end
  leave(source, {#places, unpack(places)})
  told = publish(target, words)
  go(#places)
else
  told = publish(target, words)
  if type(told) == 'table' and told.err then
    return told
  end
  local stored = type(told) == 'table' and told[1] or told
  if stored > 0 then
    leave(source, {stored, unpack(places, 1, stored)})
    go(stored)
  end
end
return {answers, type(told) == 'table' and told[2] or nil, type(told) == 'table' and told[3] or nil}
