"""Acts on one message: publish, reschedule, retry, edit and dry-run it; and acknowledge a silent worker."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from tasuki.app.dry_run.report import DryRun
from tasuki.app.dry_run.run import dry_run, entries, loading_of, trial_of
from tasuki.app.state.workers import crew_of
from tasuki.clock import Clock
from tasuki.contracts.driver import Outgoing, Waiting
from tasuki.dead.editing.body import plain_codec
from tasuki.dead.editing.building import Made, Wanted
from tasuki.dead.editing.edit import Draft, Edited, Editor, check
from tasuki.dead.editing.undo import Record, edit_of, edited_into
from tasuki.dead.moving.places import transfer
from tasuki.dead.redrive import redrive
from tasuki.dead.walk import letter_of
from tasuki.desk.reading.rows import asked
from tasuki.desk.site import BESIDE, AwayError, Site
from tasuki.errors import CodecError, InvalidBodyError, QueueNotFoundError, TasukiError, UnsupportedError
from tasuki.message import DUE, LAST_ERROR, PARTITION_KEY, PRIORITY, REPLY_TO, HeaderValue, Message
from tasuki.queues.dead.letter import name_of
from tasuki.queues.dead_letter import home_of, homeless
from tasuki.queues.messages.codec import JSON, MSGPACK, JsonCodec
from tasuki.queues.queue import Queue
from tasuki.queues.result import Confirmed

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.desk.security.sessions import ActorSession


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
    in one step, with its id, behind the others, and no unique window holds it any more. A message with failures or
    recorded deaths of workers can only run now: stored again it would begin with its first attempt.

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
    fresh = [each for each in messages if not _has_failed(each)]
    if not fresh:
        why = "has failed before, and can only run now" if messages else "waits there any more"
        raise LookupError(f"of the {len(ids)} in {queue} {'each' if messages else 'none'} {why}")
    return await _store_again(found, fresh, seconds, clock.time())


def _has_failed(message: Message) -> bool:
    return LAST_ERROR in message.headers or (isinstance(message, Waiting) and message.failures > 0)


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


_MOST_EDITED = 2**20
"""Bytes of a body that is made a text for a form or a program, on the event loop."""

_busy = asyncio.Semaphore(1)
"""A dry run starts an interpreter: one at a time."""


def _editor(site: Site, live: Assembly, dead: str, session: ActorSession) -> Editor:
    return Editor(live, dead, clock=site.reader._runtime.clock, actor=session.actor, is_permitted=True)


def other_queues(draft: Draft, made: Made, known: Collection[str]) -> list[str]:
    """The queues beside its own that an edit reaches: another target, and a changed queue for the reply."""
    reply_to = made.message.headers.get(REPLY_TO)
    found = [] if draft.to == draft.home else [draft.to]
    if isinstance(reply_to, str) and reply_to != draft.headers.get(REPLY_TO) and reply_to in known:
        found.append(reply_to)
    return found


async def draft_of(site: Site, dead: str, letter: Message, to: str | None, session: ActorSession) -> Draft:
    """A letter as its form shows it. Raises QueueNotFoundError: it goes to no queue of this project."""

    async def work(live: Assembly) -> Draft:
        return _editor(site, live, dead, session).draft_of(letter, to, _MOST_EDITED)

    return await site.at(dead, work)


async def check_edit(site: Site, draft: Draft, wanted: Wanted, session: ActorSession) -> Made:
    """Make the message that an edit sends. Raises EditError: it is not valid."""
    return await site.at(
        draft.dead, lambda live: _editor(site, live, draft.dead, session).check(draft, wanted)
    )  # fmt: skip


async def send(site: Site, draft: Draft, made: Made, session: ActorSession, *, keep: bool) -> Edited:
    """Send the checked message of an edit. Raises what :meth:`tasuki.dead.editing.edit.Editor.send` raises."""

    async def work(live: Assembly) -> Edited:
        for id in (draft.dead, draft.to):
            queue = live.queue(id)
            await asked(queue, lambda queue=queue: queue.driver.occupancy(queue.spec.name))  # type: ignore[misc]
        return await _editor(site, live, draft.dead, session).send(draft, made, keep=keep)

    return await site.at(draft.dead, work)


async def edit_made(site: Site, dead: str, id: str) -> Record | None:
    """The edit of the last 15 minutes that made a message; None: there is none, or its store is silent."""
    try:
        return await site.at(dead, lambda live: edit_of(live, dead, id), patience=BESIDE)
    except TasukiError:
        return None


async def made_of(site: Site, dead: str, letter: str) -> tuple[str, str]:
    """The queue and the id of the message that an edit made of a letter; empty: none did, or its store is silent."""

    async def work(live: Assembly) -> tuple[str, str]:
        id = await edited_into(live, dead, letter)
        record = await edit_of(live, dead, id) if id else None
        return ("", "") if record is None else (record.to, id)

    try:
        return await site.at(dead, work, patience=BESIDE)
    except TasukiError:
        return "", ""


async def undo_edit(site: Site, dead: str, id: str, session: ActorSession) -> str:
    """Bring the letter back whose edit made this message; its id. Raises LookupError, DriverError."""
    return await site.at(dead, lambda live: _editor(site, live, dead, session).undo(id))


async def try_out(site: Site, message: Message, queue: str, session: ActorSession) -> DryRun:
    """A dry run of a message, in its own process.

    Raises:
        AwayError: another one is under way. HandlerError: no consumer of this project gets it. LifecycleError: the app
            cannot be loaded by another process.
    """
    app = site.app_for(queue)
    trial = trial_of(site.live, loading_of(app._runtime), message, queue, app._runtime.clock.time())

    async def answer(wanted: dict[str, Any]) -> Mapping[str, Any]:
        return await site.on(app, lambda live: entries(live, wanted))

    if _busy.locked():
        raise AwayError("another dry run is under way: wait until it is over")
    async with _busy:
        return await dry_run(trial, answer, actor=session.actor)


async def retry(live: Assembly, dead: str, id: str, clock: Clock) -> str:
    """Redrive the letter; returns the id of the queue that has it now.

    A message that fails again at once is a new letter of the same id, which stays.

    Raises:
        LookupError: there is no such letter. QueueNotFoundError: it is not from a queue whose letters go here.
        UnsupportedError: the driver cannot remove a message by its id. DriverError: a broker refuses.
    """
    source = live.queues[dead]
    if not source.driver.capabilities.has("remove"):
        text = f"queue {dead!r}: its driver cannot take out one message; tasuki redrive {dead} sends all of them back"
        raise UnsupportedError(text, driver=source.driver.name, queue=dead)
    letter = await asked(source, lambda: letter_of(source, id, clock))
    target = home_of(letter, source, live.queues)
    if target is None:
        raise QueueNotFoundError(homeless(letter, source), queue=dead)
    await asked(target, lambda: target.driver.occupancy(target.spec.name))
    done = await redrive(live, source, target, 1, clock=clock, ids=[name_of(letter)], is_permitted=True)
    if not done.moved:
        raise LookupError(f"message {id} is not in {dead} any more, or another process holds it")
    return target.id
