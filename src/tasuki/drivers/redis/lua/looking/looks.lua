-- What people see of messages: their contents, errors and histories, and microseconds until they are ready; false: they are.

local function looks(places)
  local at, delays = now(), answers('ZMSCORE', DELAYED, places)
  for index, due in ipairs(delays) do
    delays[index] = due and text(math.max(due - at, 0))
  end
  return answers('HMGET', MESSAGES, places), answers('HMGET', ERRORS, places), answers('HMGET', ATTEMPTS, places), delays
end
