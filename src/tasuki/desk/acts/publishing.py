"""Publish one message for a program: its body is JSON text, whose numbers keep their digits where the codec is JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from tasuki.desk.reading.counts import asked
from tasuki.queues.messages.codec import JSON
from tasuki.queues.result import Confirmed

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly


async def publish(live: Assembly, id: str, options: Mapping[str, Any]) -> Confirmed:
    """Publish to a queue by its id, also one that its broker got after the driver was opened.

    ``options``: ``body`` as JSON text, and what :meth:`tasuki.queues.queue.Queue.publish` takes.

    Raises:
        QueueNotFoundError: its broker does not have it. ValueError: an option or the body is none. TasukiError.
    """
    queue, given = live.queues[id], dict(options)
    body: object = given.pop("body")
    assert isinstance(body, msgspec.Raw)
    if queue.codec.name != JSON:
        body = msgspec.json.decode(body)
    await asked(queue, lambda: queue.driver.occupancy(queue.spec.name))
    return await queue.publish(body, **given)
