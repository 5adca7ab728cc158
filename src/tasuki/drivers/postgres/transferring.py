"""Transferring: finds waiting messages by their ids, and takes them out with one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasuki.drivers.postgres import columns as rows
from tasuki.drivers.postgres.publishing.statements import TRANSFER
from tasuki.drivers.postgres.session import Session
from tasuki.drivers.toolkit.transferring.transfers import Found

_NUMBER = "SELECT id FROM {}.queues WHERE name = $1"
_WAITING = (
    "SELECT seq, id FROM {0}.messages WHERE queue = $1 AND state = 0 AND id = ANY($2) UNION ALL "
    "SELECT seq, id FROM {0}.messages WHERE queue = $1 AND due IS NOT NULL "
    "AND NOT (state = 2 AND due > clock_timestamp()) AND id = ANY($2) UNION ALL "
    "SELECT seq, id FROM {0}.messages WHERE queue = $1 AND state = 3 AND key IS NOT NULL AND id = ANY($2) UNION ALL "
    "SELECT seq, id FROM {0}.messages WHERE queue = $1 AND state = 4 AND id = ANY($2)"
)


async def find(session: Session, queue: str, wanted: Mapping[str, int]) -> dict[str, list[int]]:
    """The numbers of the waiting messages of these ids, the oldest first. Raises DriverError."""
    found: dict[str, list[int]] = {}
    numbers = await session.ask(queue, _NUMBER, queue)
    number = numbers[0][0] if numbers else -1  # the transfer reports that there is no queue
    ids = [id for id in wanted if "\0" not in id]
    for seq, id in sorted(await session.ask(queue, _WAITING, number, ids)):
        found.setdefault(id, []).append(seq)
    return found


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
