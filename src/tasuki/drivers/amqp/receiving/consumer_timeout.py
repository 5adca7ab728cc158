"""How long a delivery may stay unsettled: RabbitMQ ends the channel (4.3: the consumer) that holds one for longer.

The broker's default is 30 minutes, and the time that a message lies in the buffer of a process counts. Up to 4.2 an
argument of the queue replaces the default, for queues of both types; a policy that says less wins, and a queue that was
made without the argument keeps the default, which nothing in the protocol tells. From 4.3 on quorum queues alone know a
timeout, an argument of the consumer wins over all, and a declaration must repeat the argument that the queue has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.amqp.limits import CONSUMER_TIMEOUT
from tasuki.drivers.amqp.topology.queue_arguments import Lane

ARGUMENT = "x-consumer-timeout"

_OTHER = re.compile(
    rf"inequivalent arg '{ARGUMENT}' for queue '(.+)' in vhost .* but current is (?:none|the value '(\d+)')"
)
_REFUSED = re.compile(rf"invalid arg '{ARGUMENT}' for queue '(.+)' in vhost")


def limited(lanes: Sequence[Lane], spec: QueueSpec) -> list[Lane]:
    """The lanes of a queue with the timeout that its option asks for; a temporary queue takes the broker's."""
    if spec.temporary:
        return list(lanes)
    limit = max(round((spec.options.get("consumer_timeout") or CONSUMER_TIMEOUT) * 1000), 1)
    return [replace(lane, arguments={**lane.arguments, ARGUMENT: limit}, consumer_timeout=limit) for lane in lanes]


def of_consumer(lane: Lane) -> dict[str, int]:
    """The argument of a lane's consumers: 4.3 obeys it in a quorum queue and refuses it elsewhere, others ignore it."""
    return {ARGUMENT: lane.consumer_timeout} if lane.arguments.get("x-queue-type") == "quorum" else {}


def fitted_to(lanes: Sequence[Lane], refusal: str) -> list[Lane] | None:
    """The lanes as the broker takes them, if it refused a declaration for this argument; None if for something else.

    They are declared in order, so the ones before the refused lane are right.
    """
    found = _OTHER.search(refusal)
    refused = found or _REFUSED.search(refusal)
    if refused is None:
        return None
    current = int(found[2]) if found is not None and found[2] else None
    index = next((index for index, lane in enumerate(lanes) if lane.name == refused[1]), None)
    if index is None or lanes[index].arguments.get(ARGUMENT) == current:
        return None
    return [*lanes[:index], *(_with(lane, current) for lane in lanes[index:])]


def _with(lane: Lane, current: int | None) -> Lane:
    others = {key: value for key, value in lane.arguments.items() if key != ARGUMENT}
    return replace(lane, arguments={**others, ARGUMENT: current} if current is not None else others)
