"""Links: the connections for consuming: as many as the queues need, as a connection has a limited number of channels.

The first one declares and asks too; it alone sees the exclusive queues that it has declared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

from tasuki.drivers.amqp.connection import Connection
from tasuki.drivers.amqp.link import Link
from tasuki.drivers.amqp.settings import Settings

_PER_QUEUE = 3
"""Most channels that a queue keeps: of its consumers, of those that only count, and of its turn."""

Prepare = Callable[[Connection, Collection[str]], Awaitable[None]]


def room_for_queues(channel_max: int, borrowed: int) -> int:
    """How many queues a connection consumes at most, when so many of its channels are lent."""
    return max((channel_max - borrowed) // _PER_QUEUE, 1)


def first_with_room(loads: Sequence[int], most: int) -> int:
    """The first connection that consumes fewer queues than it may; one more if there is none."""
    return next((place for place, load in enumerate(loads) if load < most), len(loads))


class Links:
    """``prepare`` makes the first connection ready; ``prepare_more`` any other, and is told of its queues."""

    def __init__(self, settings: Settings, prepare: Prepare, prepare_more: Prepare) -> None:
        self._settings = settings
        self._prepare_more = prepare_more
        self._queues: list[set[str]] = [set()]
        """What each connection consumes."""
        self._places: dict[str, int] = {}
        """Which connection consumes a queue."""
        self._links = [Link(settings, lambda connection: prepare(connection, self._queues[0]))]

    @property
    def main(self) -> Link:
        """The one that declares."""
        return self._links[0]

    async def of(self, queue: str, wait: float = 0.0, *, is_exclusive: bool = False) -> Connection:
        """The connection that consumes a queue, now and later; see ``Link.get``."""
        if queue not in self._places:
            main = await self.main.get(wait)
            if queue not in self._places:
                place = self._places[queue] = 0 if is_exclusive else self._place_for(main)
                self._queues[place].add(queue)
        return await self._links[self._places[queue]].get(wait)

    def forget(self, queue: str) -> None:
        """A queue is not consumed any more."""
        if (place := self._places.pop(queue, None)) is not None:
            self._queues[place].discard(queue)

    async def close(self) -> None:
        """End all connections; there are no more."""
        await asyncio.gather(*(link.close() for link in self._links))

    def abort(self) -> None:
        """Cut what has not ended."""
        for link in self._links:
            link.abort()

    def _place_for(self, main: Connection) -> int:
        most = room_for_queues(main.channel_max, main.most_borrowed)
        place = first_with_room([len(queues) for queues in self._queues], most)
        if place == len(self._links):
            queues: set[str] = set()
            self._queues.append(queues)
            self._links.append(Link(self._settings, lambda connection: self._after_main(connection, queues)))
        return place

    async def _after_main(self, connection: Connection, queues: Collection[str]) -> None:
        """A broker that was away may have lost what the first connection declares."""
        await self.main.get(self._settings.request_timeout)
        await self._prepare_more(connection, queues)
