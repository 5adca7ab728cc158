"""Purging, removing and expediting messages.

A cursor shows the messages that were there when a purge began; they are removed in many transactions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from tasuki.drivers.postgres.connecting.connections import Connector, Link
from tasuki.drivers.postgres.session import Session

AT_ONCE = 10_000
"""Messages removed in one transaction, so that the others are not locked out."""
_WOKEN = 100
"""Most processes that are woken at once; they wake the others."""

_NUMBER = "SELECT id FROM {}.queues WHERE name = $1"
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
    (number,) = (await session.fetch(queue, _NUMBER, queue))[0]
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
    (number,) = (await session.fetch(queue, _NUMBER, queue))[0]
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
