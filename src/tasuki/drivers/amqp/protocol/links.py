"""Links: the connections for consuming: as many as the queues need, as a connection has a limited number of channels.

The first one declares and asks too; it alone sees the exclusive queues that it has declared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from tasuki.drivers.amqp.endpoint import Endpoint
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.reconnecting import reconnecting
from tasuki.drivers.toolkit.reconnecting import Reconnecting

Prepare = Callable[[Connection, Collection[str]], Awaitable[None]]


def first_with_room(loads: Sequence[int], wanted: int, most: int) -> int:
    """The first connection that has so many channels left for a queue; one more if there is none."""
    return next((place for place, load in enumerate(loads) if not load or load + wanted <= most), len(loads))


@dataclass(slots=True)
class _Seat:
    """Where a queue is consumed."""

    place: int
    channels: int
    """Most that it keeps."""


class Links:
    """``prepare`` makes the first connection ready; ``prepare_more`` any other, with its queues."""

    def __init__(self, settings: Endpoint, prepare: Prepare, prepare_more: Prepare) -> None:
        self._settings = settings
        self._prepare_more = prepare_more
        self._queues: list[set[str]] = [set()]
        """What each connection consumes."""
        self._loads = [0]
        """How many channels each keeps for them."""
        self._seats: dict[str, _Seat] = {}
        self._links = [reconnecting(settings, lambda connection: prepare(connection, self._queues[0]))]

    @property
    def main(self) -> Reconnecting[Connection]:
        """The one that declares."""
        return self._links[0]

    async def of(self, queue: str, wait: float = 0.0, *, channels: int = 1, is_exclusive: bool = False) -> Connection:
        """The connection that consumes a queue, now and later; ``channels``: most that the queue keeps there.

        See ``Reconnecting.get``.
        """
        if queue not in self._seats:
            main = await self.main.get(wait)
            if queue not in self._seats:
                place = 0 if is_exclusive else self._place_for(main, channels)
                self._seats[queue] = _Seat(place, channels)
                self._queues[place].add(queue)
                self._loads[place] += channels
        return await self._links[self._seats[queue].place].get(wait)

    def forget(self, queue: str) -> None:
        """A queue is not consumed any more."""
        if (seat := self._seats.pop(queue, None)) is not None:
            self._queues[seat.place].discard(queue)
            self._loads[seat.place] -= seat.channels

    async def close(self) -> None:
        """End all connections; there are no more."""
        await asyncio.gather(*(link.close() for link in self._links))

    def abort(self) -> None:
        """Cut what has not ended."""
        for link in self._links:
            link.abort()

    def _place_for(self, main: Connection, channels: int) -> int:
        place = first_with_room(self._loads, channels, main.for_queues)
        if place == len(self._links):
            queues: set[str] = set()
            self._queues.append(queues)
            self._loads.append(0)
            self._links.append(reconnecting(self._settings, lambda connection: self._after_main(connection, queues)))
        return place

    async def _after_main(self, connection: Connection, queues: Collection[str]) -> None:
        """A broker that was away may have lost what the first connection declares."""
        await self.main.get(self._settings.request_timeout)
        await self._prepare_more(connection, queues)
