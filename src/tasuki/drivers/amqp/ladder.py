"""The delay ladder: durable queues whose time to live are powers of two, through which a delayed message climbs down.

A delay is a number of steps, written in binary. At each rung whose bit is set the message lies in that rung's queue
until its time is over; the broker then passes it on to the next rung, and from the last one to its queue. So any delay
takes a few hops through queues that all share, no process has to be there, and a restart of the broker changes nothing.
The bits stand in the routing key, one word a rung: ``0.1.1. … .tasks``.
"""

from __future__ import annotations

import math
from typing import Any

from pamqp import commands
from pamqp.base import Frame as Method

from tasuki.drivers.amqp.limits import RUNGS, STEP
from tasuki.drivers.amqp.topology import DELIVERY_LIMIT, GIVEN_UP, given_up

_COARSE_FROM, _COARSE = 60.0, 8
"""From a minute on, a delay is rounded up to 0.8 s: three hops fewer."""

NAME = "tasuki.delay"
"""Exchange at the ladder's foot; those of the rungs are ``tasuki.delay.0`` and so on, as are their queues."""


def steps(delay: float) -> int:
    """The delay in steps, at least one; never less than the delay."""
    number = max(math.ceil(delay / STEP - 1e-9), 1)
    return -(-number // _COARSE) * _COARSE if delay >= _COARSE_FROM else number


def entry(delay: float, queue: str) -> tuple[str, str, int]:
    """Exchange and routing key for a message that must wait, and the highest rung that it needs."""
    number = steps(delay)
    top = number.bit_length() - 1
    bits = ".".join("1" if number >> rung & 1 else "0" for rung in reversed(range(RUNGS)))
    return rung_name(top), f"{bits}.{queue}", top


def rung_name(rung: int) -> str:
    """Exchange and queue of a rung."""
    return f"{NAME}.{rung}"


def goal(routing_key: str) -> str:
    """The queue at the end of a message's way."""
    return routing_key.split(".", RUNGS)[-1]


def look(rung: int) -> Method:
    """What asks how many messages lie on a rung."""
    return commands.Queue.Declare(queue=rung_name(rung), passive=True)


def foot_binding(queue: str) -> Method:
    """What leads from the foot of the ladder to a queue.

    The words before the name are counted, not skipped with a ``#``: that would match every queue whose name ends alike.
    """
    return commands.Queue.Bind(queue=queue, exchange=NAME, routing_key="*." * RUNGS + queue)


def foot() -> list[Method]:
    """What makes the foot. What leads nowhere from it, because its queue was deleted, is kept where it can be found.

    On a rung it would be tried again and again, and thirty-two of them would let nothing else come down.
    """
    return [
        given_up(),
        commands.Exchange.Declare(exchange=GIVEN_UP, exchange_type="fanout", durable=True),
        commands.Queue.Bind(queue=GIVEN_UP, exchange=GIVEN_UP),
        commands.Exchange.Declare(
            exchange=NAME, exchange_type="topic", durable=True, arguments={"alternate-exchange": GIVEN_UP}
        ),
    ]


def rung(number: int) -> list[Method]:
    """What makes one rung; the one below must be there."""
    name, below = rung_name(number), rung_name(number - 1) if number else NAME
    before = "*." * (RUNGS - 1 - number)
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-message-ttl": round(STEP * 1000) * 2**number,
        "x-dead-letter-exchange": below,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-delivery-limit": DELIVERY_LIMIT,  # a sweep counts as one, and 20 would end a delay before its time
    }
    return [
        commands.Exchange.Declare(exchange=name, exchange_type="topic", durable=True),
        commands.Queue.Declare(queue=name, durable=True, arguments=arguments),
        commands.Queue.Bind(queue=name, exchange=name, routing_key=f"{before}1.#"),
        commands.Exchange.Bind(destination=below, source=name, routing_key=f"{before}0.#"),
    ]
