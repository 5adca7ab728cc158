"""Which worker processes there are, as the stores of the queues tell it."""

from __future__ import annotations

from collections.abc import Iterable

from tasuki.contracts.state.store import MAX_PAGE
from tasuki.state.presence import PRESENCE, Presence, decode
from tasuki.state.shared import SharedState


async def workers_of(states: Iterable[SharedState]) -> list[Presence]:
    """The workers in these states, by host and age; one that has consumers in several stores is given once for each.

    Raises:
        DriverError: a store cannot be read.
    """
    found = [worker for state in states for worker in await _workers_in(state)]
    return sorted(found, key=lambda worker: (worker.host, worker.started, worker.pid))


async def _workers_in(state: SharedState) -> list[Presence]:
    store, found, cursor = await state.store(), [], ""
    while True:
        page = await store.list(PRESENCE, after=cursor, limit=MAX_PAGE)
        found += [worker for entry in page.entries if (worker := decode(entry.value)) is not None]
        if not (cursor := page.cursor):
            return found
