-- Remove the queue with all that it holds.

redis.call('UNLINK', OLDER, unpack(KEYS))
tell_all()
return 0
