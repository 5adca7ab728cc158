-- Remove the queue with all that it holds.

redis.call('UNLINK', unpack(KEYS))
redis.call('PUBLISH', STATE, '')
return 0
