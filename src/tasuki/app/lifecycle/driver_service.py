"""DriverService: a driver under the supervisor, and the queues that it declares; a changed option is logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import fields

from tasuki.contracts.driver import DURABILITIES, Driver, Durability, Limit, QueueSpec
from tasuki.errors import DriverError, QueueNotFoundError
from tasuki.queues.policy import limit_text
from tasuki.queues.queue import Queue, is_less

_log = logging.getLogger("tasuki.app")


async def declare(queue: Queue) -> None:
    """Declare a queue; log each option that this changes at the broker, with both values."""
    if changes := await _changes_of(queue.driver, queue.spec):
        text = "queue %s: this process changes the settings of the queue at the broker, for all processes: %s"
        _log.warning(text, queue.id, "; ".join(changes), extra={"queue": queue.id})
    await queue.driver.declare(queue.spec)


async def _changes_of(driver: Driver, spec: QueueSpec) -> list[str]:
    """The options that declaring the queue would change at the broker, each with both values."""
    if not driver.tells_options:
        return []
    try:
        return differences(await driver.inspect(spec), spec)
    except QueueNotFoundError:
        return []


def differences(live: QueueSpec, wanted: QueueSpec) -> list[str]:
    """The options in which two specifications of one queue differ, each with both values."""
    names = [field.name for field in fields(QueueSpec) if field.name not in ("name", "temporary", "options")]
    pairs = [(name, getattr(live, name), getattr(wanted, name)) for name in names]
    pairs += [
        (f"options.{name}", live.options.get(name), wanted.options.get(name))
        for name in dict.fromkeys((*live.options, *wanted.options))
    ]
    # A queue that is prepared for priorities stays so.
    pairs = [pair for pair in pairs if pair != ("priorities", True, False)]
    return [f"{name} from {_shown(before)} to {_shown(after)}" for name, before, after in pairs if before != after]


def _shown(value: object) -> str:
    return limit_text(value) if isinstance(value, Limit) else repr(value)


_AT_ONCE = 16
"""Queues that are declared at the same time."""

_ONE_MACHINE: Durability = "power"
"""The most that a broker on one machine can give."""


class DriverService:
    """A driver as a service, with the queues that are on it.

    ``levels`` tells users which settings of the broker give which durability.
    """

    def __init__(self, driver: Driver, levels: str = "") -> None:
        self.driver = driver
        self._levels = f" ({levels})" if levels else ""
        self.queues: Sequence[Queue] = ()
        self.accepted: Durability | None = None
        """The durability that the driver's entry states."""
        self.is_brief = False
        """It is opened for one act, so the durability that its settings give is not logged: a worker's start does."""
        self.reads_only = False
        """Make and change nothing at the broker; inspect the queues instead of declaring them."""
        self.closing: Sequence[Callable[[Driver], Awaitable[None]]] = ()
        """Called before the driver is closed, to end its users other than the consumers."""

    async def start(self) -> None:
        """Open, and declare the queues; until then ``problem`` of the driver says why not."""
        try:
            await self.driver.open()
            await self._know_queues()
        except DriverError as error:
            self.driver.problem = error  # the driver is closed now, and publishes fail for this reason
            raise
        self.driver.problem = None
        if self.reads_only:
            return
        if self.is_brief:
            for queue in self.queues:
                queue.demand.refusal()
            return
        given = self.driver.durability
        _log.info("driver %s: durability %s", self.driver.name, given, extra={"driver": self.driver.name})
        self._compare(given)
        for queue in self.queues:
            self._compare_queue(queue, given)
            queue.demand.refusal()  # logs it

    async def _know_queues(self) -> None:
        """Several at a time, as a broker mostly waits for its disk or its peers."""
        left = iter(self.queues)

        async def know_some() -> None:
            for queue in left:
                await self._know(queue)

        working = [asyncio.create_task(know_some(), name="declare queues") for _ in self.queues[:_AT_ONCE]]
        try:
            await asyncio.gather(*working)
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    async def _know(self, queue: Queue) -> None:
        if not self.reads_only:
            await declare(queue)
            return
        with suppress(QueueNotFoundError):  # each later call for the queue raises it again
            await self.driver.inspect(queue.spec)

    def better_durability(self) -> Durability | None:
        """What the broker could give, if its configuration gives less than one machine can; None: nothing better.

        Also None if the entry accepts a level.
        """
        best = min(self.driver.capabilities.durability, _ONE_MACHINE, key=DURABILITIES.index)
        return best if self.accepted is None and is_less(self.driver.durability, best) else None

    @property
    def remedy(self) -> str:
        """What to do about a durability that could be better."""
        return f"change the settings, or write 'durability: {self.driver.durability}' at the driver if that is enough"

    def _compare(self, given: Durability) -> None:
        if (best := self.better_durability()) is not None:
            _log.warning(
                "driver %s: the broker's settings give confirmed messages durability %r; it could give %r%s; %s",
                self.driver.name,
                given,
                best,
                self._levels,
                self.remedy,
                extra={"driver": self.driver.name},
            )

    def _compare_queue(self, queue: Queue, given: Durability) -> None:
        """Warn if an existing queue gives less than a new one would, unless its entry demands a level."""
        stands = self.driver.durability_of(queue.spec.name)
        if is_less(stands, given) and queue.demand.level is None:
            _log.warning(
                "queue %s has durability %r from earlier settings; a new queue of driver %s would have %r; "
                "change the queue at the broker, or write 'durability: %s' at the queue if that is enough",
                queue.id,
                stands,
                self.driver.name,
                given,
                stands,
                extra={"queue": queue.id},
            )

    async def wait(self) -> None:
        """Never ends by itself: a driver reconnects on its own."""
        await asyncio.get_running_loop().create_future()

    async def stop(self, timeout: float) -> None:
        """Close; the consumers have stopped, so no message is held any more."""
        try:
            for close in self.closing:
                await close(self.driver)
        finally:
            await self.driver.close()
