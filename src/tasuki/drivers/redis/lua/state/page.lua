-- A part of the entries, in order. Returns the key behind which the next page begins, '' at the end, and for each entry its
-- key, value, version and the microseconds until it expires or -1.
-- ARGV: lowest and highest name as ZRANGEBYLEX wants them, most entries

local BYTES = 4 * 1024 * 1024  -- of values, after which a page ends
local ROUNDS = 20  -- this many times it reads on behind expired keys
local PART = 16  -- values read at a time

local low, high, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local time = now()
local living, ends = {}, {}
local last = ''
for _ = 1, ROUNDS do
  local names = redis.call('ZRANGEBYLEX', NAMES, low, high, 'LIMIT', 0, most + 1)
  local scores = #names > 0 and redis.call('ZMSCORE', ENDS, unpack(names)) or {}
  for index, name in ipairs(names) do
    if #living <= most and (not scores[index] or tonumber(scores[index]) > time) then
      living[#living + 1] = name
      ends[#living] = scores[index] and scores[index] - time or -1
    end
  end
  last = #names > most and names[#names] or ''
  if last == '' or #living > most then
    break
  end
  low = '(' .. last
end
if #living > most then
  living[most + 1] = nil
  last = living[most]
end
local answer, bytes = {last}, 0
for first = 1, #living, PART do
  local part = {unpack(living, first, math.min(first + PART - 1, #living))}
  local values = redis.call('HMGET', VALUES, unpack(part))
  local versions = redis.call('HMGET', VERSIONS, unpack(part))
  for index, name in ipairs(part) do
    answer[#answer + 1] = name
    answer[#answer + 1] = values[index]
    answer[#answer + 1] = tonumber(versions[index])
    answer[#answer + 1] = ends[first + index - 1]
    bytes = bytes + #values[index]
  end
  if bytes > BYTES and first + PART <= #living then
    answer[1] = part[#part]
    break
  end
end
return answer
