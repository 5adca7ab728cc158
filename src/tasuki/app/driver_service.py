"""DriverService: a driver under the supervisor, with the queues that it has to declare."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from tasuki.contracts.driver import DURABILITIES, Driver, Durability, QueueSpec
from tasuki.errors import DriverError, UnsupportedError

_log = logging.getLogger("tasuki.app")

_ONE_MACHINE: Durability = "power"
"""The most that a broker on one machine can give."""


class DriverService:
    """A driver as a service: its queues are declared before it opens, so a broker that is away learns them later.

    ``levels`` says which durability the broker gives when, for people.
    """

    def __init__(self, driver: Driver, levels: str = "") -> None:
        self.driver = driver
        self._levels = f" ({levels})" if levels else ""
        self.specs: Sequence[QueueSpec] = ()
        self.wanted: Mapping[str, Durability] = {}
        """The durability that entries ask for: the driver's own and those of its queues, by id."""
        self.closing: Sequence[Callable[[Driver], Awaitable[None]]] = ()
        """What uses the driver beside the consumers, and must end before it is closed."""

    async def start(self) -> None:
        """Declare and open. Raises UnsupportedError when the broker gives less durability than is wanted."""
        for spec in self.specs:
            await self.driver.declare(spec)
        try:
            await self.driver.open()
        except DriverError as error:
            self.driver.problem = error
            raise
        self.driver.problem = None
        given = self.driver.durability
        _log.info(
            "driver %s: what is confirmed survives: %s", self.driver.name, given, extra={"driver": self.driver.name}
        )
        self._compare(given)
        try:
            self.check(self.wanted)
        except UnsupportedError:
            await self.driver.close()
            raise

    def check(self, wanted: Mapping[str, Durability]) -> None:
        """Raise UnsupportedError when the broker gives less durability than the entries of these ids ask for."""
        given = self.driver.durability
        for id, level in wanted.items():
            if DURABILITIES.index(level) > DURABILITIES.index(given):
                raise UnsupportedError(
                    f"{id!r} wants durability {level!r}, and driver {self.driver.name!r} as it is set up gives "
                    f"{given!r}; take a driver or settings that give more, or ask for less",
                    driver=self.driver.name,
                )

    def _compare(self, given: Durability) -> None:
        """Say so when the broker as it is set up gives less than it could, unless the entry says what is enough.

        What only more machines could give is not missed.
        """
        name, level = self.driver.name, DURABILITIES.index
        best = min(self.driver.capabilities.durability, _ONE_MACHINE, key=level)
        if level(given) < level(best) and name not in self.wanted:
            _log.warning(
                "driver %s: what is confirmed has durability %r as the broker is set up, and could have %r%s; "
                "change its settings, or write 'durability: %s' at the driver if that is enough",
                name,
                given,
                best,
                self._levels,
                given,
                extra={"driver": name},
            )

    async def wait(self) -> None:
        """Never ends by itself: a driver reconnects on its own."""
        await asyncio.get_running_loop().create_future()

    async def stop(self, timeout: float) -> None:
        """Close; nothing is held any more, the consumers have stopped before."""
        try:
            for close in self.closing:
                await close(self.driver)
        finally:
            await self.driver.close()
