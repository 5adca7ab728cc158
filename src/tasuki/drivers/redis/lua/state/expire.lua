-- Forget expired keys, this many at most. Returns how many.
-- ARGV: most

return sweep(now(), tonumber(ARGV[1]))
