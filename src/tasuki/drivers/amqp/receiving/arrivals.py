"""Arrivals: a delivery out of what the broker has pushed."""

from __future__ import annotations

from tasuki.contracts.driver import Received
from tasuki.drivers.amqp.protocol.envelope import EMPTY, UNREADABLE, Parsed, decode
from tasuki.drivers.amqp.protocol.frames import Deliver
from tasuki.drivers.amqp.receiving.consumers import is_of_keys, is_of_returned
from tasuki.drivers.amqp.receiving.inbox import Delivery
from tasuki.message import new_id


def arrived(deliver: Deliver, properties: bytes, body: bytes, number: int) -> Delivery:
    """A delivery, the ``number``-th of its channel, as the message describes it; see ``lookups`` for the rest."""
    try:
        parsed = decode(properties, deliver.payload)
    except UNREADABLE:
        # Only the body can be read. A copy must count its failures, so it does not repeat these properties.
        parsed, properties = Parsed(new_id(), {}, 0, 0), EMPTY
    is_suspect = parsed.suspect or deliver.redelivered
    return Delivery(
        (-parsed.priority, 0 if is_of_returned(deliver.consumer) else 1, number),
        deliver.tag,
        deliver.consumer,
        Received(parsed.id, body, parsed.headers, attempt=parsed.failures + 1, suspect=is_suspect),
        properties,
        parsed.key,
        is_of_keys(deliver.consumer),
    )
