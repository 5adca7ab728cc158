"""Transferring: finds waiting messages by their ids, and takes them out with one statement."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any

from tasuki.drivers.postgres import columns as rows
from tasuki.drivers.postgres.publishing.statements import TRANSFER
from tasuki.drivers.postgres.session import Session
from tasuki.drivers.toolkit.transferring.transfers import Found, storable
from tasuki.message import Message

_NUMBER = "SELECT id FROM {}.queues WHERE name = $1"
_RAISE = "SELECT {}.queue_named($1)"
_WHERE = (
    "FROM {0}.messages WHERE queue = $1 AND state = 0 AND id = ANY($2)",
    "FROM {0}.messages WHERE queue = $1 AND due IS NOT NULL AND NOT (state = 2 AND due > clock_timestamp()) "
    "AND id = ANY($2)",
    "FROM {0}.messages WHERE queue = $1 AND state = 3 AND key IS NOT NULL AND id = ANY($2)",
    "FROM {0}.messages WHERE queue = $1 AND state = 4 AND id = ANY($2)",
)
"""Four indexes show all messages but the held ones."""
_PLACES = "SELECT seq, id "
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
    statement = " UNION ALL ".join(select + where for where in _WHERE)
    found = await session.ask(queue, statement, numbers[0][0], [id for id in ids if "\0" not in id])
    return sorted(found, key=itemgetter(0))


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
