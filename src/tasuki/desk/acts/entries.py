"""Acts on messages and workers: publish one, change when it is due; end the notice of a silent worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from tasuki.app.state.workers import crew_of
from tasuki.contracts.driver import Outgoing
from tasuki.dead.editing.body import plain_codec
from tasuki.dead.editing.edit import check
from tasuki.dead.moving.places import transfer
from tasuki.desk.reading.counts import asked
from tasuki.desk.site import Site
from tasuki.errors import CodecError, InvalidBodyError, UnsupportedError
from tasuki.message import DUE, LAST_ERROR, PARTITION_KEY, PRIORITY, HeaderValue, Message
from tasuki.queues.messages.codec import JSON, MSGPACK, JsonCodec
from tasuki.queues.queue import Queue
from tasuki.queues.result import Confirmed

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.clock import Clock
    from tasuki.queues.queue import Queue


async def acknowledge(site: Site, worker: str) -> None:
    """Remove the entries of a silent worker (``host:pid``) from all stores.

    Raises:
        LookupError: there is none, as it was acknowledged before, or it lives. AwayError, DriverError.
    """
    removed = 0
    for app, _ in site.parts():
        removed += await site.on(app, partial(_remove, worker))
    if not removed:
        raise LookupError(f"no worker {worker!r} fell silent in the last 15 minutes, or it is acknowledged")


async def _remove(worker: str, live: Assembly) -> int:
    removed = 0
    for state in live.states_of_queues():
        if state.opened is None:  # a store is made by opening it
            continue
        for each in (await crew_of(state)).lost:
            if each.name == worker:
                removed += await state.opened.delete(each.key)
    return removed


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


async def reschedule(live: Assembly, queue: str, ids: Sequence[str], seconds: float, clock: Clock) -> int:
    """Make messages of a queue, by its id, due in this many seconds; returns how many.

    With 0 their delays end, and nothing else of them changes. Otherwise each leaves the queue and is stored in it again
    in one step, with its id, behind the others, and no unique window holds it any more. A message that has failed can
    only run now: stored again it would begin with its first attempt.

    Raises:
        UnsupportedError: the driver cannot. LookupError: none of them waits there any more, or all have failed.
        DriverError.
    """
    found = live.queues[queue]
    able = found.driver.capabilities
    if not (able.has("transfer") and able.has("find") if seconds else able.has("expedite")):
        raise UnsupportedError(
            f"queue {queue!r}: its driver cannot change when a message is due", driver=found.driver.name, queue=queue
        )
    if not seconds:
        count = await asked(found, lambda: found.driver.expedite(found.spec.name, ids))
        if not count:
            raise LookupError(f"none of the {len(ids)} is delayed in {queue} any more")
        return count
    messages = await asked(found, lambda: found.driver.find(found.spec.name, ids))
    fresh = [message for message in messages if LAST_ERROR not in message.headers]
    if not fresh:
        why = "has failed before, and can only run now" if messages else "waits there any more"
        raise LookupError(f"of the {len(ids)} in {queue} {'each' if messages else 'none'} {why}")
    return await _store_again(found, fresh, seconds, clock.time())


async def _store_again(queue: Queue, messages: Sequence[Message], seconds: float, now: float) -> int:
    name, driver = queue.spec.name, queue.driver
    sent = [_delayed(queue, message, seconds, now) for message in messages]
    answers = await asked(queue, lambda: transfer(driver, name, messages, name, sent))
    errors = [answer for answer in answers if answer is not None]
    if len(errors) == len(sent):
        raise errors[0]
    return len(sent) - len(errors)


def _delayed(queue: Queue, message: Message, seconds: float, now: float) -> Outgoing:
    headers = {**message.headers, DUE: now + seconds}
    priority, key = headers.get(PRIORITY), headers.get(PARTITION_KEY)
    sent = Outgoing(
        message.id,
        message.body,
        headers,
        delay=seconds,
        priority=priority if isinstance(priority, int) else 0,
        key=None if key is None else str(key),
        deduplicate=False,
    )
    if queue.policy.lanes is not None:
        sent.lane = queue.policy.lanes.of_sent_on(sent, queue.decode)
    return sent
