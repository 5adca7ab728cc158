"""Reads records of stores: last failed attempts of messages, progress of running ones, and schedules."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tasuki.app.state.jobs import read
from tasuki.contracts.state.jobs import Progress
from tasuki.desk.reading.snapshot import QueueRow
from tasuki.desk.site import BESIDE, Site, problem_of
from tasuki.errors import TasukiError
from tasuki.flow.attempts import read_attempts
from tasuki.message import LAST_ERROR, Message
from tasuki.queues.dead.attempts import AttemptRecord

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.app.schedules.status import ScheduleStatus
    from tasuki.contracts.state.store import Store

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
