"""Searches, purges, removes and expedites messages.

A cursor shows the messages that were there when a purge began; they are removed in many transactions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any

from tasuki.contracts.values import NEWEST_IDS, RECENT, RECENT_PARTS, CauseCount, Causes, Where
from tasuki.drivers.postgres import columns as rows
from tasuki.drivers.postgres.connections import Connector, Link
from tasuki.drivers.postgres.publishing import TRANSFER
from tasuki.drivers.postgres.session import Session
from tasuki.drivers.toolkit.results import Found, storable
from tasuki.message import Message, is_cause

AT_ONCE = 10_000
"""Messages removed in one transaction, so that the others are not locked out."""
_WOKEN = 100
"""Most processes that are woken at once; they wake the others."""

_QUEUE_ID = "SELECT id FROM {0}.queues WHERE name = $1"

# Four indexes show all messages but the held ones; the cursor sees the rows committed when it was opened.
_SEEN = (
    "BEGIN; DECLARE seen NO SCROLL CURSOR FOR "
    "SELECT seq FROM {0}.messages WHERE queue = {1} AND state = 0 UNION ALL "
    "SELECT seq FROM {0}.messages WHERE queue = {1} AND due IS NOT NULL "
    "AND NOT (state = 2 AND due > clock_timestamp()) UNION ALL "
    "SELECT seq FROM {0}.messages WHERE queue = {1} AND state = 3 AND key IS NOT NULL UNION ALL "
    "SELECT seq FROM {0}.messages WHERE queue = {1} AND state = 4"
)

_WITH_IDS = (
    "SELECT seq FROM {0}.messages WHERE queue = $1 AND state = 0 AND id = ANY($2) UNION ALL "
    "SELECT seq FROM {0}.messages WHERE queue = $1 AND due IS NOT NULL AND id = ANY($2) UNION ALL "
    "SELECT seq FROM {0}.messages WHERE queue = $1 AND state = 3 AND key IS NOT NULL AND id = ANY($2) UNION ALL "
    "SELECT seq FROM {0}.messages WHERE queue = $1 AND state = 4 AND id = ANY($2)"
)

# Delayed messages are ready once they are due, as a receive finds them; so that is all that changes.
_EXPEDITE = (
    "UPDATE {0}.messages m SET due = clock_timestamp() FROM {0}.queues q WHERE q.name = $1 AND m.queue = q.id "
    "AND m.state = 1 AND m.due > clock_timestamp() AND m.id = ANY($2) RETURNING 1"
)

_WAKE = "SELECT {}.pass_on($1) FROM generate_series(1, $2)"
_NEXT = f"FETCH {AT_ONCE} FROM seen"
_REMOVE = "SELECT {}.purge_these($1, $2)"


async def remove(session: Session, queue: str, ids: Sequence[str], only: Collection[int | None]) -> int:
    """Remove the messages of these ids that are not held; returns how many. Raises DriverError.

    ``only``: the numbers that they must have; none: any.
    """
    await session.fetch(queue, _REMOVE, queue, [])  # raises for a queue that is not there
    (number,) = (await session.fetch(queue, _QUEUE_ID, queue))[0]
    found = [seq for (seq,) in await session.fetch(queue, _WITH_IDS, number, ids) if not only or seq in only]
    removed = 0
    for start in range(0, len(found), AT_ONCE):
        removed += (await session.fetch(queue, _REMOVE, queue, found[start : start + AT_ONCE]))[0][0]
    return removed


async def expedite(session: Session, queue: str, ids: Sequence[str]) -> int:
    """End the delays of the messages of these ids; returns how many there were. Raises DriverError."""
    await session.fetch(queue, _REMOVE, queue, [])  # raises for a queue that is not there
    count = len(await session.fetch(queue, _EXPEDITE, queue, ids))
    if count:
        await session.fetch(queue, _WAKE, queue, min(count, _WOKEN))
    return count


async def purge(session: Session, queue: str, connector: Connector) -> int:
    """Remove the messages; returns how many. Raises what the client raises, and DriverError.

    The cursor has its own connection: the removals are committed meanwhile on others.
    """
    await session.fetch(queue, _REMOVE, queue, [])  # raises for a queue that is not there
    (number,) = (await session.fetch(queue, _QUEUE_ID, queue))[0]
    link = await connector.open()
    try:
        async with asyncio.timeout(connector.timeout):
            await link.connection.execute(_SEEN.format(session.schema, number))
        removed = 0
        while seen := await _next(link, connector.timeout):
            removed += (await session.fetch(queue, _REMOVE, queue, seen))[0][0]
        return removed
    finally:
        link.abort()


async def _next(link: Link, timeout: float) -> list[int]:
    async with asyncio.timeout(timeout):
        return [row[0] for row in await link.connection.fetch(_NEXT)]


_RAISE = "SELECT * FROM {}.count_messages($1)"
"""Raises for a queue that the database does not have, unless it can be declared again, which leaves it empty."""

_WHERE = (
    "FROM {0}.messages WHERE queue = $1 AND state = 0 AND id = ANY($2)",
    "FROM {0}.messages WHERE queue = $1 AND due IS NOT NULL AND NOT (state = 2 AND due > clock_timestamp()) "
    "AND id = ANY($2)",
    "FROM {0}.messages WHERE queue = $1 AND state = 3 AND key IS NOT NULL AND id = ANY($2)",
    "FROM {0}.messages WHERE queue = $1 AND state = 4 AND id = ANY($2)",
)
"""Four indexes show all messages but the held ones."""


_HELD = (
    "FROM {0}.messages WHERE queue = $1 AND due IS NOT NULL AND state = 2 AND due > clock_timestamp() AND id = ANY($2)"
)


_PLACES = "SELECT seq, id "

_AT = (
    "SELECT id, 1 ",
    "SELECT id, CASE WHEN state = 1 AND due > clock_timestamp() THEN 2 ELSE 1 END ",
    "SELECT id, 1 ",
    "SELECT id, 1 ",
    "SELECT id, 0 ",
)


_THERE = "SELECT '', -1 FROM {0}.queues WHERE name = $1"
"""A row of its own if the queue exists."""

_NAMES: tuple[Where, ...] = ("held", "ready", "delayed")

_MESSAGES = f"SELECT seq, id, headers, body, error, extract(epoch FROM failed_at)::float8, attempts, {rows.DELAY} "  # noqa: S608


async def find(session: Session, queue: str, wanted: Mapping[str, float]) -> dict[str, list[int]]:
    """The numbers of the waiting messages of these ids, the oldest first. Raises DriverError."""
    found: dict[str, list[int]] = {}
    for seq, id in await _rows(session, queue, wanted, _PLACES):
        found.setdefault(id, []).append(seq)
    return found


async def show(session: Session, queue: str, ids: Collection[str]) -> list[Message]:
    """The messages themselves. Raises DriverError."""
    return [rows.message(row) for row in await _rows(session, queue, storable(ids), _MESSAGES)]


async def _rows(session: Session, queue: str, ids: Collection[str], select: str) -> list[Any]:
    numbers = await session.ask(queue, _QUEUE_ID, queue)
    if not numbers:
        await session.ask(queue, _RAISE, queue)
        return []
    statement = " UNION ALL ".join(select + where for where in _WHERE)
    found = await session.ask(queue, statement, numbers[0][0], [id for id in ids if "\0" not in id])
    return sorted(found, key=itemgetter(0))


async def locate(session: Session, queue: str, ids: Collection[str]) -> dict[str, Where]:
    """Where the messages of these ids are, in one statement. Raises DriverError."""
    parts = [at + where for at, where in zip(_AT, (*_WHERE, _HELD), strict=True)]
    statement = " UNION ALL ".join([_THERE, *(part.replace("queue = $1", f"queue = ({_QUEUE_ID})") for part in parts)])
    found = await session.ask(queue, statement, queue, [id for id in storable(ids) if "\0" not in id])
    if not found:
        await session.ask(queue, _RAISE, queue)
    ordered = sorted(found, key=itemgetter(1), reverse=True)
    return {id: _NAMES[place] for id, place in ordered if place >= 0}


async def transfer(session: Session, queue: str, to: str, found: Sequence[Found[int]]) -> tuple[list[int], str]:
    """One outcome each, and what the commit waited for. Raises DriverError."""
    messages = [each.message for each in found]
    seqs, sought = [each.place for each in found], [each.id for each in found]
    columns = (seqs, sought, *rows.arrays(messages), *rows.lane_column(messages))
    settings, told, commit = (await session.store(to, TRANSFER[len(columns)], queue, to, *columns))[0]
    session.learn(settings)
    session.stored(to)
    session.stored(queue)  # a message may follow there
    return list(told), commit


_COUNT = (
    "SELECT cause, number, first_at, last_at, recent, ids, headers, error, failed_at, unmarked "
    "FROM {}.count_causes($1, $2, $3, $4, $5, $6)"
)


_SHOW = rows.SHOWN.format("show_cause($1, $2, $3, $4, $5)")


async def count(session: Session, queue: str, most: int, also: Collection[str]) -> Causes:
    """The waiting messages by their causes. Raises DriverError."""
    wanted = [cause for cause in also if is_cause(cause)]
    *found, others = await session.ask(queue, _COUNT, queue, most, wanted, RECENT, RECENT_PARTS, NEWEST_IDS)
    _, number, first, last, *_, unmarked = others
    rest = CauseCount("", number, first, last) if number else None
    return Causes(tuple(map(_counted, found)), rest, unmarked)


def _counted(row: Any) -> CauseCount:
    cause, number, first, last, recent, ids, headers, error, failed_at, _ = row
    newest = rows.message((None, ids[0], headers, b"", error, failed_at, None, None))
    return CauseCount(cause, number, first, last, tuple(recent or (0,) * RECENT_PARTS), newest, tuple(ids))


async def peek(
    session: Session, queue: str, cause: str, limit: int, after: int, *, newest_first: bool
) -> list[Message]:
    """Waiting messages of one cause. Raises DriverError."""
    found = await session.ask(queue, _SHOW, queue, cause, limit, after, newest_first)
    return [rows.message(row) for row in found]
