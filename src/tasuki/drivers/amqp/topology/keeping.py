"""Keeping: the broker removes a temporary queue that nothing uses, so its process declares it again in time.

Another declaration is a use of the queue (rabbitmq.com/docs/ttl#queue-ttl).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from tasuki.drivers.amqp.faults import ClosedError, Errors, LateError
from tasuki.drivers.amqp.topology import declaring
from tasuki.drivers.amqp.topology.queue_arguments import KEPT, Defaults, KnownQueue
from tasuki.drivers.toolkit.known_queues import KnownQueues
from tasuki.errors import DriverError

if TYPE_CHECKING:
    from tasuki.drivers.amqp.session import Session

SIGNS = 4
"""Declarations in the time for which the broker keeps an unused queue."""


async def keep(session: Session, known: KnownQueues[KnownQueue], errors: Errors, defaults: Defaults) -> None:
    """Declare the temporary queues of this process now and again, until cancelled."""
    while True:
        await asyncio.sleep(min(defaults.queue_expiry or KEPT, KEPT) / SIGNS)
        connection = session.link.connection
        for queue in known.declared():
            name = queue.spec.name
            if connection is not None and queue.spec.temporary and known.is_kept(name):
                with suppress(ClosedError, LateError, DriverError):  # the next connection declares it, too
                    await declaring.declare(connection, errors, session.marks, *queue)
