"""Connections: the connections of a driver as its stores use them, with its names and storage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tasuki.contracts.values import Durability
from tasuki.drivers.nats.protocol.address import Address
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.names import Names
from tasuki.drivers.nats.queues.setup import Storage
from tasuki.drivers.toolkit.guard import Guard
from tasuki.drivers.toolkit.reconnecting import Reconnecting
from tasuki.drivers.toolkit.threads.threaded import LeaseThread

T = TypeVar("T")


class Connections:
    """Of one driver; ``opened`` is called on the loop that opens it."""

    def __init__(
        self,
        guard: Guard[Reconnecting[Connection]],
        leases: LeaseThread[Reconnecting[Connection]],
        address: Address,
        names: Names,
        storage: Storage,
        durability: Callable[[], Durability],
    ) -> None:
        self._guard = guard
        self._leases = leases
        self._home: asyncio.AbstractEventLoop | None = None
        self.address = address
        self.names = names
        self.storage = storage
        self.durability = durability
        self.max_payload = 0
        """Bytes of the largest message of the server; 0: not known yet."""

    @property
    def is_open(self) -> bool:
        """Whether the driver is open in this process."""
        return self._guard.current is not None

    def opened(self) -> None:
        """The driver's connection belongs to the running loop."""
        self._home = asyncio.get_running_loop()

    async def reach(self, work: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        """Run work with the driver's connection; in another loop than its own, with the one of the lease thread."""
        link = self._guard.get()

        async def run(link: Reconnecting[Connection]) -> T:
            connection = await link.get()
            self.max_payload = connection.max_payload
            return await work(connection)

        return await (run(link) if asyncio.get_running_loop() is self._home else self._leases.run(run))
