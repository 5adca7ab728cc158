-- Remove a key. Returns {1} if it was there, {0} if not, or {0, version} of a key that has another than the expected version.
-- ARGV: key, expected version (0: absent) or ''

local SWEPT = 20

local key, expected = unpack(ARGV)
local time = now()
local found = version_of(key, time)
if expected ~= '' and (found or 0) ~= tonumber(expected) then
  return {0, found or 0}
end
if found then
  forget(key)
end
sweep(time, SWEPT)
return {found and 1 or 0}
