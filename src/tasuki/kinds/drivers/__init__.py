"""``queue.driver.*``: the drivers of this version, one file each, and the options that they understand."""

from tasuki.kinds.drivers import amqp, memory, nats, postgres, redis, sqlite, sqs

KINDS = (memory.KIND, sqlite.KIND, amqp.KIND, redis.KIND, sqs.KIND, postgres.KIND, nats.KIND)
