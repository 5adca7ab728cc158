"""Publish one message for a program: its body is JSON text, whose numbers keep their digits where the codec is JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from tasuki.dead.editing.body import plain_codec
from tasuki.dead.editing.checking import check
from tasuki.desk.reading.counts import asked
from tasuki.errors import CodecError, InvalidBodyError
from tasuki.message import HeaderValue, Message
from tasuki.queues.messages.codec import JSON, MSGPACK, JsonCodec
from tasuki.queues.result import Confirmed

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.queues.queue import Queue


async def publish(live: Assembly, id: str, options: Mapping[str, Any]) -> Confirmed:
    """Publish to a queue by its id, also one that its broker got after the driver was opened.

    ``options``: ``body`` as JSON text, and what :meth:`tasuki.queues.queue.Queue.publish` takes.

    Raises:
        QueueNotFoundError: its broker does not have it. ValueError: an option or the body is none.
        EditError: no handler of this project can read it. TasukiError.
    """
    queue, given = live.queues[id], dict(options)
    body: object = given.pop("body")
    assert isinstance(body, msgspec.Raw)
    text = bytes(body)
    value = _read(text)
    await _check(live, queue, given.get("id") or "", text, value, given.get("headers") or {})
    if queue.codec_of(Message("", text, given.get("headers") or {})).name != JSON:
        body = value  # the header content_type may name another codec than the queue
    await asked(queue, lambda: queue.driver.occupancy(queue.spec.name))
    return await queue.publish(body, **given)


def _read(text: bytes) -> object:
    """The value, as a consumer reads it. Raises ValueError: no consumer can, as of a text that is no valid UTF-8."""
    try:
        return JsonCodec().decoder()(text)
    except (CodecError, InvalidBodyError) as error:
        raise ValueError(f"no consumer could read the body: {error}") from error


async def _check(
    live: Assembly, queue: Queue, id: str, text: bytes, value: object, headers: Mapping[str, HeaderValue]
) -> None:
    """Refuse a message that no handler of this project can read: of an unknown task, with an argument of another type.

    Middleware of the queue may change a message, so there it is not known what they will read.
    """
    config = live.project.configs[queue.id]
    codec = plain_codec(queue.codec_of(Message(id, text, dict(headers))))
    if getattr(config, "middleware", ()) or codec.name not in (JSON, MSGPACK):
        return
    plain = text if codec.name == JSON else codec.encode(value)
    await check(live, queue, Message(id, plain, dict(headers)), plain, text.decode())
