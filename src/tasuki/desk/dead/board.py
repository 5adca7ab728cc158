"""Board: the last batches of the installation, read once for all viewers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasuki.app.batches import LISTED, Batches
from tasuki.clock import Clock
from tasuki.dead.batch import Batch
from tasuki.desk.site import BESIDE, Site, problem_of
from tasuki.errors import BatchNotFoundError, TasukiError

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly

_AGE = 1.0
"""Seconds for which the list is new enough."""


class Board:
    """Belongs to the event loop of the desk."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site, self._clock = site, clock
        self._last: Sequence[Batch] = ()
        self._read = float("-inf")
        self._reading = asyncio.Lock()
        self.problem = ""
        """Why the last list is not whole; empty: it is."""

    async def latest(self) -> Sequence[Batch]:
        """The last ten batches, the newest first; ``problem`` says why batches of a store are left out."""
        async with self._reading:
            if self._clock.monotonic() - self._read > _AGE:
                found: dict[str, Batch] = {}
                self.problem = ""
                for app, _ in self._site.parts():
                    try:
                        found |= {batch.id: batch for batch in await self._site.on(app, _list, patience=BESIDE)}
                    except TasukiError as error:
                        self.problem = problem_of(error)
                self._last = [found[id] for id in sorted(found, reverse=True)][:LISTED]
                self._read = self._clock.monotonic()
            return self._last

    async def find(self, id: str) -> Batch:
        """A batch as it is now. Raises BatchNotFoundError, AwayError, DriverError."""
        missing: TasukiError | None = None
        for app, _ in self._site.parts():
            try:
                return await self._site.on(app, lambda live: Batches(lambda: live).get(id))
            except BatchNotFoundError as error:
                missing = error
        raise missing or BatchNotFoundError(f"there is no batch {id}", batch=id)

    def forget(self) -> None:
        """Something was ordered: the next viewer gets a new list."""
        self._read = float("-inf")


async def _list(live: Assembly) -> Sequence[Batch]:
    return await Batches(lambda: live).list()
