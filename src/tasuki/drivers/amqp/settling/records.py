"""Records: failures of a message that no copy of it carries yet, as empty queues at the broker.

RabbitMQ counts returns (``x-delivery-count``, from 4.3 on ``x-acquired-count``), but the return of a message whose
handler failed looks like the return of one that lay unused in a worker that died. So the count of failures stands in a
header of the message (see ``envelope``), and a failure that must not move the message, such as the start of a handler
that may kill its worker, is recorded by the existence of a queue named after the message and the number of the failure.

A queue and not a message in one: a declaration is done once however often it is asked for, needs no connection that a
memory alarm blocks, and is replicated. The records of a message are deleted when it is settled; records that outlive
their message expire.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection
from typing import Any

from pamqp import commands

from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.existing import passively, up_to_missing

EXPIRY_MS = 7 * 24 * 3600 * 1000
_PATIENCE = 2.0
"""Seconds to wait until the broker has deleted records."""


def name_of(queue: str, message: bytes, number: int) -> str:
    """The record of a message's failure with this number, from 1; ``message`` identifies it within its queue."""
    return f"{queue}.failed.{hashlib.sha256(message).hexdigest()[:16]}.{number}"


async def count(connection: Connection, queue: str, message: bytes, known: int) -> int:
    """How many failures are recorded beyond the known ones. Raises ClosedError or LateError."""
    names = (name_of(queue, message, number) for number in itertools.count(known + 1))
    return len(await up_to_missing(connection, map(passively, names)))


async def make(connection: Connection, names: Collection[str]) -> None:
    """Record failures; they are at the broker when this returns. Raises ClosedError or LateError."""
    arguments: dict[str, Any] = {"x-queue-type": "quorum", "x-expires": EXPIRY_MS}
    if not names:
        return
    # Not on the channel of the deliveries: a refusal ends the channel, and with it what it holds.
    async with connection.borrow() as channel:
        await channel.ask(*(commands.Queue.Declare(queue=name, durable=True, arguments=arguments) for name in names))


async def drop(connection: Connection, names: Collection[str]) -> None:
    """Forget records, whether they are there or not. Raises ClosedError or LateError.

    A record that was made just before a crash of the broker may have no leader after it: its deletion takes seconds.
    The connection does not end for that; the broker goes on with what it was asked for.
    """
    if not names:
        return
    async with connection.borrow() as channel:
        await channel.ask_within(_PATIENCE, *(commands.Queue.Delete(queue=name) for name in names))
