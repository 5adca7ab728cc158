"""Causes: why the waiting messages of a queue died, counted and shown by the server."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tasuki.contracts.values import NEWEST_IDS, RECENT, RECENT_PARTS, CauseCount, Causes
from tasuki.drivers.postgres import columns as rows
from tasuki.drivers.postgres.session import Session
from tasuki.message import Message, is_cause

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
