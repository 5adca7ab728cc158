"""The last failed attempt of messages that wait for another one, as their workers have recorded it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tasuki.desk.site import BESIDE, Site
from tasuki.errors import TasukiError
from tasuki.flow.attempts import read_attempts
from tasuki.message import LAST_ERROR, Message
from tasuki.queues.dead.attempts import AttemptRecord

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.contracts.state.store import Store

MOST = 50
"""Messages of a page whose records are read."""
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
        return {}  # the snapshot says which broker is away


async def _read(store: Store, queue: str, left: Iterable[str], found: dict[str, AttemptRecord]) -> None:
    for id in left:
        if records := await read_attempts(store, queue, id):
            found[id] = records[-1]
