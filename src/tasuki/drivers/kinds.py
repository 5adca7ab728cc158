"""``queue.driver.*``: the drivers of this version; each states its settings and options in its own folder."""

from __future__ import annotations

from tasuki.drivers.amqp import settings as amqp
from tasuki.drivers.memory import settings as memory
from tasuki.drivers.nats import settings as nats
from tasuki.drivers.postgres import settings as postgres
from tasuki.drivers.redis import settings as redis
from tasuki.drivers.sqlite import settings as sqlite
from tasuki.drivers.sqs import settings as sqs

KINDS = (memory.KIND, sqlite.KIND, amqp.KIND, redis.KIND, sqs.KIND, postgres.KIND, nats.KIND)
