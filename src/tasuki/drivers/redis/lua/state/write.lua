-- Write a key. Returns {version} now, or {0, version} of a key that has another version than the expected one.
-- ARGV: key, value, microseconds for which it is there or '', expected version (0: absent) or ''

local key, value, span, expected = unpack(ARGV)
local time = now()
local found, ends = version_of(key, time)
if expected ~= '' and (found or 0) ~= tonumber(expected) then
  return {0, found or 0}
end
local version = put(time, key, value, span, found, ends)
sweep(time, MOST_SWEPT)
return {version}
