"""Links: the connections for consuming: as many as the queues need, as a connection has a limited number of channels.

The first one declares and asks too; it alone sees the exclusive queues that it has declared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tasuki.drivers.amqp.endpoint import Endpoint
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.reconnecting import reconnecting
from tasuki.drivers.toolkit.reconnecting import Reconnecting

Prepare = Callable[[Connection], Awaitable[None]]


def first_with_room(loads: Sequence[int], wanted: int, most: int) -> int:
    """The first connection that has so many channels left for a queue; one more if there is none."""
    return next((place for place, load in enumerate(loads) if not load or load + wanted <= most), len(loads))


@dataclass(slots=True)
class _Place:
    """A connection for some of the queues."""

    link: Reconnecting[Connection]
    load: int = 0
    """How many channels it keeps for them."""


class Links:
    """``prepare`` makes the first connection ready; ``prepare_more`` any other."""

    def __init__(self, settings: Endpoint, prepare: Prepare, prepare_more: Prepare) -> None:
        self._settings = settings
        self._prepare_more = prepare_more
        self._places = [self._place(prepare)]
        self._place_of: dict[str, tuple[_Place, int]] = {}
        """Where each queue is consumed, and how many channels are kept for it there."""

    @property
    def main(self) -> Reconnecting[Connection]:
        """The one that declares."""
        return self._places[0].link

    async def of(self, queue: str, wait: float = 0.0, *, channels: int = 1, is_exclusive: bool = False) -> Connection:
        """The connection that consumes a queue, now and later; ``channels``: most that the queue keeps there.

        See ``Reconnecting.get``.
        """
        if queue not in self._place_of:
            main = await self.main.get(wait)
            if queue not in self._place_of:
                place = self._places[0] if is_exclusive else self._with_room(main, channels)
                self._place_of[queue] = place, channels
                place.load += channels
        place, _ = self._place_of[queue]
        return await place.link.get(wait)

    def forget(self, queue: str) -> None:
        """A queue is not consumed any more."""
        place, channels = self._place_of.pop(queue, (None, 0))
        if place is not None:
            place.load -= channels

    async def close(self) -> None:
        """End all connections; there are no more."""
        await asyncio.gather(*(place.link.close() for place in self._places))

    def abort(self) -> None:
        """Cut what has not ended."""
        for place in self._places:
            place.link.abort()

    def _with_room(self, main: Connection, channels: int) -> _Place:
        number = first_with_room([place.load for place in self._places], channels, main.for_queues)
        if number == len(self._places):
            self._places.append(self._place(self._after_main))
        return self._places[number]

    def _place(self, prepare: Prepare) -> _Place:
        return _Place(reconnecting(self._settings, prepare))

    async def _after_main(self, connection: Connection) -> None:
        """A broker that was unavailable may have lost what the first connection declares."""
        await self.main.get(self._settings.request_timeout)
        await self._prepare_more(connection)
