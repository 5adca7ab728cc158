-- Read a key. Returns its version, value, and the microseconds until it expires or -1; nothing if it is absent.
-- ARGV: key

local time = now()
local version, ends = version_of(ARGV[1], time)
if not version then
  return {}
end
return {version, redis.call('HGET', VALUES, ARGV[1]), ends and ends - time or -1}
