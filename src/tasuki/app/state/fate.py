"""Fate: gathers the facts about a message, for status, explain and the desk (docs/adr/0056)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tasuki.app.state.finding import needed_state
from tasuki.app.state.workers import workers_of
from tasuki.contracts.state.store import CURRENT
from tasuki.contracts.values import Waiting, Where
from tasuki.errors import HandlerError, QueueNotFoundError
from tasuki.handlers.body import make_decoder
from tasuki.message import DUE
from tasuki.state.cancelling import is_cancelled
from tasuki.state.job_records import JobRecord, decode, purge_key, result_key
from tasuki.state.job_status import Known, Stage

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.queues.queue import Queue
    from tasuki.state.shared import SharedState


async def know(live: Assembly, queue: str, id: str) -> Known:
    """All that is known of a message of a queue, by the queue's id.

    At most two requests one after the other, unless the message ends between them, or its queue keeps no result.

    Raises:
        UnsupportedError: the queue has no state. DriverError: its store or its broker cannot be reached.
    """
    on, state = live.queue(queue), needed_state(live, queue, "the status of a message")
    known = Known(state.clock.time(), _here(live, on, id), on.policy.result is not None)
    if known.keeps_records:
        known = await _read(known, state, on, id)
    if on.driver.capabilities.has("locate"):
        known = replace(known, is_located=True, where=await _locate(on, id))
        if known.where is None and known.record is not None and not known.record.is_final:
            return await _read(known, state, on, id)  # it has ended between the two
    elif on.driver.capabilities.has("find") and (known.record.is_given_up if known.record else not known.keeps_records):
        known = replace(known, where=await _found(on, id, known.now))
    return known if known.keeps_records or known.where in ("ready", "delayed") else await _beside(live, known, on, id)


def _here(live: Assembly, on: Queue, id: str) -> Stage | None:
    stages = (each.now.stage_of(id) for each in live.consumers.values() if each.queue.id == on.id)
    return next((stage for stage in stages if stage is not None), None)


async def _read(known: Known, state: SharedState, on: Queue, id: str) -> Known:
    """With the record, and whether a purge followed it."""
    store, name = await state.store(), on.spec.name
    found = await store.get(result_key(name, id))
    record = None if found is None else decode(found.value)
    if found is None or record is None or record.status != "waiting" or on.driver.capabilities.has("locate"):
        return replace(known, record=record, is_purged=False)
    purge = await store.get(purge_key(name))
    return replace(known, record=record, is_purged=purge is not None and purge.version > found.version)


async def _locate(on: Queue, id: str) -> Where | None:
    try:
        return (await on.driver.locate(on.spec.name, [id])).get(id)
    except QueueNotFoundError:
        return None


async def _found(on: Queue, id: str, now: float) -> Where | None:
    """The same by a search of the waiting messages, which shows no held ones."""
    try:
        found = await on.driver.find(on.spec.name, [id])
    except QueueNotFoundError:
        return None
    if not found:
        return None
    due, able = found[0].headers.get(DUE), on.driver.capabilities
    if isinstance(found[0], Waiting) and able.has("transfer"):
        return "delayed" if found[0].delay > 0 else "ready"
    return "delayed" if isinstance(due, int | float) and due > now else "ready"


async def _beside(live: Assembly, known: Known, on: Queue, id: str) -> Known:
    """The fate of a message without a record that does not wait, as far as its broker says."""
    state = needed_state(live, on.id, "the status of a message")
    asked: list[Awaitable[bool]] = [is_cancelled(state, on.spec.name, id), _is_running(state, on, id)]
    letters = live.queues.get(on.policy.dead_letter or "")
    if known.where is None and letters is not None and letters.driver.capabilities.has("locate"):
        asked.append(_is_there(letters, id))
    cancelled, running, *dead = await asyncio.gather(*asked)
    return replace(known, is_cancelled=cancelled, is_running=running, is_dead=any(dead))


async def _is_there(queue: Queue, id: str) -> bool:
    return await _locate(queue, id) is not None


async def _is_running(state: SharedState, on: Queue, id: str) -> bool:
    consumers = (each for worker in await workers_of([state]) for each in worker.consumers)
    return any(message.id == id for each in consumers if each.queue == on.spec.name for message in each.messages)


async def read(live: Assembly, queue: str, id: str) -> JobRecord | None:
    """The record of a message; None: there is none. Raises UnsupportedError: its queue has no state; DriverError."""
    state = needed_state(live, queue, "the status of a message")
    found = await (await state.store()).get(result_key(live.queue(queue).spec.name, id))
    return None if found is None else decode(found.value)


async def ended(live: Assembly, queue: str, id: str) -> JobRecord | None:
    """The last record of a message, as soon as the store has it; None: the store was closed. Raises as ``read``."""
    store = await needed_state(live, queue, "the result of a message").store()
    key = result_key(live.queue(queue).spec.name, id)
    async with aclosing(store.watch(key)) as changes:  # type: ignore[type-var]
        async for change in changes:
            if change is CURRENT or change.key != key or change.value is None:
                continue
            record = decode(change.value)
            if record is not None and record.is_final:
                return record
    return None


def value_of(queue: Queue, record: JobRecord, returns: Any) -> Any:
    """The result of an ended message. Raises HandlerError: there is none."""
    if record.status == "cancelled":
        raise HandlerError("the message was cancelled", kind="Canceled", retryable=False)
    if (error := record.error) is not None and record.is_given_up:
        names = [error.type] if error.type else []
        raise HandlerError(error.text, kind=error.kind, retryable=False, details={"reason": error.reason}, names=names)
    if record.value is None:
        raise HandlerError(f"the result cannot be kept: {record.problem}", kind="Internal", retryable=False)
    codec = queue.codecs.get(record.codec) or queue.codec
    return make_decoder(codec, returns)(record.value)
