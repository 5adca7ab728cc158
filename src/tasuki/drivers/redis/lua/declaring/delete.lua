-- Remove the queue with all that it holds.

redis.call('UNLINK', unpack(KEYS))
tell_all()
return 0
