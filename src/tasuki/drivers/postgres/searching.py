"""Waiting messages by their ids and by their causes: found, shown, counted, transferred."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any

from tasuki.contracts.values import NEWEST_IDS, RECENT, RECENT_PARTS, CauseCount, Causes, Where
from tasuki.drivers.postgres import columns as rows
from tasuki.drivers.postgres.publishing import TRANSFER
from tasuki.drivers.postgres.session import Session
from tasuki.drivers.toolkit.moves import Found, storable
from tasuki.message import Message, is_cause

_NUMBER = "SELECT id FROM {0}.queues WHERE name = $1"

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
    numbers = await session.ask(queue, _NUMBER, queue)
    if not numbers:
        await session.ask(queue, _RAISE, queue)
        return []
    statement = " UNION ALL ".join(select + where for where in _WHERE)
    found = await session.ask(queue, statement, numbers[0][0], [id for id in ids if "\0" not in id])
    return sorted(found, key=itemgetter(0))


async def locate(session: Session, queue: str, ids: Collection[str]) -> dict[str, Where]:
    """Where the messages of these ids are, in one statement. Raises DriverError."""
    parts = [at + where for at, where in zip(_AT, (*_WHERE, _HELD), strict=True)]
    statement = " UNION ALL ".join([_THERE, *(part.replace("queue = $1", f"queue = ({_NUMBER})") for part in parts)])
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
