"""Reads the flight recorders of workers and the records of stores: events, attempts, progress, schedules."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tasuki.app.state.fate import read
from tasuki.consumers.handling.stack import stacks_as_events
from tasuki.consumers.reports.recorder_queries import message_as_events
from tasuki.contracts.state.jobs import Progress
from tasuki.desk.reading.snapshot import QueueRow, RunningRow
from tasuki.desk.site import BESIDE, Site, problem_of
from tasuki.errors import TasukiError
from tasuki.flow.attempts import read_attempts
from tasuki.message import LAST_ERROR, Message
from tasuki.observe.events import STACK, as_dicts
from tasuki.queues.dead.attempts import AttemptRecord
from tasuki.state.recorder_requests import WorkerAddress, ask
from tasuki.state.worker_record import Presence

if TYPE_CHECKING:
    from tasuki.app.app import App
    from tasuki.app.assembly import Assembly
    from tasuki.app.schedules.statuses import ScheduleStatus
    from tasuki.contracts.state.store import Store
    from tasuki.state.shared import SharedState


NEWEST = 50
"""Events of each consumer."""

_PATIENCE = 2.0
"""Seconds in which the worker answers; one whose event loop is blocked does not."""


Lines = list[tuple[str, dict[str, Any]]]
"""Consumer, and one of its events."""


async def events_by_consumer(site: Site, worker: Presence, newest: int) -> Mapping[str, Sequence[dict[str, Any]]]:
    """The newest events of each consumer that has answered, the newest last. Raises AwayError, DriverError."""
    return await _found(site, worker, newest)


async def events_of(site: Site, worker: Presence) -> tuple[Lines, list[str]]:
    """Its events, the newest first, and the consumers that have not answered. Raises AwayError, DriverError."""
    lines, silent = await _read_events(site, worker, NEWEST)
    return sorted(lines, key=lambda line: -line[1]["at"]), silent


async def stacks_in(site: Site, worker: Presence) -> tuple[Lines, list[str]]:
    """Where its handlers stand, as events of the kind ``stack``, the oldest delivery first; as ``events_of``."""
    lines, silent = await _read_events(site, worker, 0)
    return [(consumer, event) for consumer, event in lines if event["kind"] == STACK], silent


async def held_in(site: Site, queue: str, running: RunningRow) -> Sequence[dict[str, Any]]:
    """A running message and the stack of its handler, as events. Raises AwayError, DriverError."""
    id, who = running.message.id, WorkerAddress(running.host, running.pid)

    async def look(live: Assembly) -> Sequence[dict[str, Any]]:
        state = live.state_of(queue)
        if state is not None and state.driver.capabilities.multi_process:
            answers = await ask(await state.store(), who, {running.consumer}, 0, _PATIENCE, message=id)
            return answers.get(running.consumer, ())
        own = live.consumers.get(running.consumer)
        return () if own is None else message_as_events(own.now.workers, id, own.clock)

    return await site.at(queue, look)


async def _read_events(site: Site, worker: Presence, newest: int) -> tuple[Lines, list[str]]:
    found = await _found(site, worker, newest)
    lines = [(consumer, event) for consumer, events in found.items() for event in events]
    return lines, sorted({consumer.id for consumer in worker.consumers} - found.keys())


async def _found(site: Site, worker: Presence, newest: int) -> dict[str, list[dict[str, Any]]]:
    wanted = {consumer.id for consumer in worker.consumers}
    found: dict[str, list[dict[str, Any]]] = {}
    for app, ids in site.parts():
        found |= await site.on(app, partial(_in, app=app, ids=ids, worker=worker, wanted=wanted, newest=newest))
    return found


async def _in(
    live: Assembly, *, app: App, ids: list[str], worker: Presence, wanted: set[str], newest: int
) -> dict[str, list[dict[str, Any]]]:
    by_state: dict[SharedState, set[str]] = {}
    found: dict[str, list[dict[str, Any]]] = {}
    for consumer in live.consumers.values():
        if consumer.id not in wanted or consumer.queue.id not in ids:
            continue
        state = live.state_of(consumer.queue.id)
        if state is not None and state.driver.capabilities.multi_process:
            by_state.setdefault(state, set()).add(consumer.id)
        elif newest:
            found[consumer.id] = as_dicts(consumer.recent()[-newest:], app._runtime.clock)
        else:
            found[consumer.id] = stacks_as_events(consumer.now.workers, app._runtime.clock.time())
    answers = await asyncio.gather(
        *(_ask(state, worker, consumers, newest) for state, consumers in by_state.items() if state.opened is not None)
    )
    for answer in answers:
        found |= answer
    return found


async def _ask(
    state: SharedState, worker: Presence, consumers: set[str], newest: int
) -> dict[str, list[dict[str, Any]]]:
    store, who = await state.store(), WorkerAddress(worker.host, worker.pid)
    return await ask(store, who, consumers, newest, _PATIENCE, stacks=not newest)


MOST = 50
"""Messages of a page, or running ones, whose records are read."""

_AT_ONCE = 10


async def last_attempts(site: Site, queue: str, messages: Sequence[Message]) -> Mapping[str, AttemptRecord]:
    """Message → its last failed attempt; without those that have none, and of the first ``MOST`` that failed."""
    ids = [message.id for message in messages if LAST_ERROR in message.headers][:MOST]

    async def look(live: Assembly) -> dict[str, AttemptRecord]:
        state, found = live.state_of(queue), dict[str, AttemptRecord]()
        if state is None:
            return found
        store, left = await state.store(), iter(ids)
        name = live.queues[queue].spec.name
        await asyncio.gather(*(_read(store, name, left, found) for _ in range(_AT_ONCE)))
        return found

    try:
        return await site.at(queue, look, patience=BESIDE) if ids else {}
    except TasukiError:
        return {}  # the snapshot says which broker is unavailable


async def _read(store: Store, queue: str, left: Iterable[str], found: dict[str, AttemptRecord]) -> None:
    for id in left:
        if records := await read_attempts(store, queue, id):
            found[id] = records[-1]


async def progress_of(site: Site, row: QueueRow) -> Mapping[str, Progress]:
    """Message → its progress, of a queue that keeps results; without those that have said nothing."""
    ids = [each.message.id for each in row.handlers[:MOST]]

    async def look(live: Assembly) -> dict[str, Progress]:
        records = await asyncio.gather(*(read(live, row.id, id) for id in ids))
        return {
            id: record.progress
            for id, record in zip(ids, records, strict=True)
            if record is not None and record.progress is not None
        }

    try:
        return await site.at(row.id, look, patience=BESIDE) if ids else {}
    except TasukiError:
        return {}  # the snapshot says which broker is unavailable


async def schedules_of(site: Site) -> tuple[dict[str, ScheduleStatus], list[str]]:
    """The schedules whose stores can be read, by id, and why others cannot. Raises AwayError."""
    from tasuki.app.schedules.statuses import statuses_seen

    found: dict[str, ScheduleStatus] = {}
    problems: list[str] = []
    for app, ids in site.parts():
        try:
            seen = await site.on(app, statuses_seen)
        except TasukiError as error:
            problems.append(problem_of(error))
            continue
        found |= {status.id: status for status in seen.statuses if status.queue in ids}
        problems += map(problem_of, seen.problems)
    return found, problems
