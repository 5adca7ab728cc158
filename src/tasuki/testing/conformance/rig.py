"""What a case gets to work with: a driver on a fresh place, its verbs, a clock that can jump, waits with deadlines."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from unittest import SkipTest

from tasuki.contracts.driver import (
    Ack,
    Answers,
    Depth,
    Driver,
    Merged,
    Move,
    Occupancy,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
    Transfer,
)
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, DriverError
from tasuki.message import HeaderValue
from tasuki.testing.conformance.clock import ShiftedClock

BRIEF = 0.05
"""Seconds for which a case waits to see that nothing comes."""

FAR = 300.0
"""Seconds of a lease or a delay that does not end during a case, however busy the machine is."""

GONE = (BrokerUnavailableError, BrokerTimeoutError)
"""What a verb may raise while the broker is unavailable."""


T = TypeVar("T")


class Suite:
    """The hooks of a suite; :class:`~tasuki.testing.conformance.DriverConformance` adds the cases."""

    takes_clock: ClassVar[bool] = True
    """Whether ``make_driver`` uses the clock it is given. If not, cases really wait, and use short times."""
    real_seconds: ClassVar[float] = 1.0
    """Where cases really wait: the lease and the delays that they use."""
    brief: ClassVar[float] = BRIEF
    """Seconds for which a case waits to see that nothing comes."""
    delay_grain: ClassVar[float] = 0.0
    """Seconds by which the broker may round a delay up: 1.0 where it counts in whole seconds."""
    many: ClassVar[int] = 10_000
    """Messages of the case that needs many."""
    removes_within: ClassVar[float | None] = None
    """Seconds within which the temporary queue of a killed process is gone; None: too many for a case to wait."""
    hides_deaths: ClassVar[bool] = False
    """Whether a pooler between the driver and its broker hides which process has which connection."""
    patience: ClassVar[float] = 5.0
    """Seconds within which what must come has to come."""
    case_timeout: ClassVar[float] = 180.0
    """Seconds after which a case has failed."""

    def make_driver(self, place: Path, clock: ShiftedClock) -> Driver:
        """A new driver for the broker of this place: an empty folder, the same for all drivers of one case."""
        raise NotImplementedError

    def rig(self, place: Path, clock: ShiftedClock) -> Rig:
        """What each case of this suite gets."""
        return Rig(self, place, clock)

    def maker(self) -> Callable[[Path, ShiftedClock], Driver]:
        """``make_driver`` as a child process can be given it: something to pickle. The class must be importable."""
        return partial(_make, type(self))

    def version(self) -> str:
        """Name and version of the broker that the cases ran on, for the report; asked after one has passed."""
        return ""

    def broken(self, place: Path) -> AbstractAsyncContextManager[None]:
        """Make the broker of this place unreachable for the time of the block."""
        raise SkipTest("not applicable: the suite cannot make this broker unreachable")

    def silent(self, place: Path) -> AbstractAsyncContextManager[None]:
        """Keep the connections to the broker of this place for the time of the block, and let nothing through."""
        raise SkipTest("not applicable: the suite cannot silence this broker")

    def unanswered(self, place: Path) -> AbstractAsyncContextManager[None]:
        """Let requests reach the broker of this place, and no answer come back; at the end cut the connections."""
        raise SkipTest("not applicable: the suite cannot hold back the answers of this broker")

    def cut_short(self, place: Path, answers: int) -> AbstractAsyncContextManager[Callable[[], bool]]:
        """Cut the connections to the broker of this place once: in place of its answer after this many others.

        Gives a function that says whether that has happened.
        """
        raise SkipTest("not applicable: the suite cannot cut the connections to this broker at an answer")

    async def kill(self, place: Path) -> None:
        """SIGKILL the broker of this place, and start it again with its data; drivers are open."""
        raise SkipTest("not applicable: the suite cannot kill this broker")

    async def save(self, place: Path) -> None:
        """Keep a copy of the data of the broker of this place, for ``restore``; drivers are open."""
        raise SkipTest("not applicable: the suite cannot put the data of this broker back to an earlier state")

    async def restore(self, place: Path) -> None:
        """Put the data of the broker of this place back to what ``save`` has kept; drivers are open."""
        raise SkipTest("not applicable: the suite cannot put the data of this broker back to an earlier state")

    async def misplace(self, place: Path, queue: str) -> None:
        """Leave the ready messages of a queue where no receive finds them, as a step that failed; drivers are open."""
        raise SkipTest("not applicable: this broker keeps a message in one place alone")

    async def restart(self, place: Path) -> None:
        """Restart the broker of this place; the drivers are closed. Nothing to do where there is no broker process."""


def _make(suite: type[Suite], place: Path, clock: ShiftedClock) -> Driver:
    return suite().make_driver(place, clock)


class Rig:
    """One case's driver and its place; the queue ``queue`` is declared, ``other`` is a name for one more."""

    def __init__(self, suite: Suite, place: Path, clock: ShiftedClock) -> None:
        self.suite = suite
        self.place = place
        self.clock = clock
        # Places differ, and so do their queues, for brokers that several cases share.
        self.queue = f"tasks-{place.name}"
        self.other = f"other-{place.name}"
        self.driver = suite.make_driver(place, clock)
        self._drivers: list[Driver] = []
        self._numbers = count()

    @property
    def long(self) -> float:
        """A time that a case can let pass with ``advance``, in seconds."""
        return 60.0 if self.suite.takes_clock else self.suite.real_seconds

    @property
    def window(self) -> float:
        """A ``dedup_window`` that does not end during a case."""
        return self.driver.capabilities.dedup_window or self.long * 5

    def spec(self, **options: Any) -> QueueSpec:
        """The queue of the case, with a lease of ``long`` seconds."""
        return QueueSpec(**{"name": self.queue, "lease": self.long, **options})

    async def start(self, needs: Sequence[str]) -> None:
        """Open the driver and declare the queue. Raises SkipTest for a capability that is not there."""
        for capability in needs:
            if not has(self.driver, capability):
                raise SkipTest(f"not applicable: driver {self.driver.name} lacks {capability}")
        await self.open()
        await self.declare()

    async def open(self) -> None:
        """Open the driver, which is closed when the case ends."""
        self._drivers.append(self.driver)
        await self.driver.open()

    async def declare(self, **options: Any) -> QueueSpec:
        """Declare the queue of the case, or another one by its ``name``, with these options; returns them."""
        spec = self.spec(**options)
        await self.driver.declare(spec)
        return spec

    async def reopen(self, driver: Driver | None = None) -> None:
        """Close a driver, and open it again."""
        await (driver or self.driver).close()
        await (driver or self.driver).open()

    async def restart(self) -> None:
        """Close the driver, restart the broker, and open the driver again."""
        await self.driver.close()
        await self.suite.restart(self.place)
        await self.driver.open()

    async def stranger(self) -> Driver:
        """One more open driver on the same broker, as another process would have, that has declared nothing."""
        driver = self.suite.make_driver(self.place, self.clock)
        self._drivers.append(driver)
        await driver.open()
        return driver

    async def another(self, **options: Any) -> Driver:
        """The same, with the queue declared."""
        driver = await self.stranger()
        await driver.declare(self.spec(**options))
        return driver

    async def elsewhere(self, **options: Any) -> Driver:
        """Another driver as ``another`` gives, or the rig's own where only one process can have the queue."""
        return await self.another(**options) if self.driver.capabilities.multi_process else self.driver

    async def stop(self) -> None:
        """Close every driver."""
        for driver in self._drivers:
            await driver.close()

    async def advance(self, seconds: float) -> None:
        """Let time pass: at once where the driver takes a clock."""
        if self.suite.takes_clock:
            self.clock.advance(seconds)
        else:
            await asyncio.sleep(seconds)

    def message(
        self,
        body: bytes = b"body",
        *,
        id: str | None = None,
        headers: Mapping[str, HeaderValue] | None = None,
        delay: float = 0.0,
        priority: int = 0,
        key: str | None = None,
        deduplicate: bool = True,
        lane: str = "",
    ) -> Outgoing:
        """A message to publish; where no id is given, it is the next of ``0000``, ``0001`` and so on."""
        id = f"{next(self._numbers):04d}" if id is None else id
        return Outgoing(id, body, dict(headers or {}), delay, priority, key, deduplicate, lane=lane)

    def messages(self, number: int, **options: Any) -> list[Outgoing]:
        """Several messages."""
        return [self.message(**options) for _ in range(number)]

    async def publish(self, *batch: Outgoing, queue: str | None = None) -> list[str]:
        """Publish; every message must be confirmed. Returns the ids."""
        results = await self.results(*batch, queue=queue)
        assert results == [None] * len(batch), f"not confirmed: {results}"
        return [message.id for message in batch]

    async def results(self, *batch: Outgoing, queue: str | None = None) -> list[DriverError | None]:
        """Publish, and give one result a message."""
        return await each_result(self.driver.publish(queue or self.queue, batch), len(batch))

    async def take(self, number: int = 1, *, driver: Driver | None = None, queue: str | None = None) -> list[Received]:
        """Receive until there are ``number`` messages; they must come within the suite's patience."""
        taken: list[Received] = []
        end = time.monotonic() + self.suite.patience
        while len(taken) < number and (left := end - time.monotonic()) > 0:
            taken += await (driver or self.driver).receive(queue or self.queue, number - len(taken), left)
        assert len(taken) == number, f"{number} messages expected, {len(taken)} came"
        return taken

    async def drain(self, *, queue: str | None = None, expected: int = 0) -> list[str]:
        """Receive and ack until nothing comes; returns the ids. A busy broker gets time for the expected number."""
        drained: list[str] = []
        end = time.monotonic() + self.suite.patience * 2
        while (got := await self.driver.receive(queue or self.queue, 100, 0.2)) or len(drained) < expected:
            drained += ids(got)
            await self.ack(*got, queue=queue)
            if time.monotonic() > end:
                assert not got, "messages come without end"
                break
        return drained

    async def one(self, *, driver: Driver | None = None) -> Received:
        """Receive one message."""
        return (await self.take(driver=driver))[0]

    async def only(self, *expected: str, queue: str | None = None) -> list[Received]:
        """Receive the messages of these ids, in any order; no other can be received."""
        taken = await self.take(len(expected), queue=queue)
        assert sorted(ids(taken)) == sorted(expected), f"{sorted(expected)} expected, {sorted(ids(taken))} came"
        await self.nothing(queue=queue)
        return taken

    async def nothing(self, *, driver: Driver | None = None, queue: str | None = None) -> None:
        """Nothing can be received."""
        taken = await (driver or self.driver).receive(queue or self.queue, 10, self.suite.brief)
        assert taken == [], f"nothing expected, {ids(taken)} came"

    async def woken(self, act: Callable[[], Awaitable[object]], *, queue: str | None = None) -> Received:
        """What a receive that waits already is given once this has happened, within the suite's patience."""
        waiting = asyncio.create_task(self.driver.receive(queue or self.queue, 1, self.suite.patience * 4))
        await asyncio.sleep(self.suite.brief)
        assert not waiting.done(), f"nothing expected, {ids(waiting.result())} came"
        await act()
        async with asyncio.timeout(self.suite.patience):
            (got,) = await waiting
        return got

    async def begin(self, received: Received) -> Received:
        """Record the start of a delivery; where that takes another delivery of the message, returns it."""
        if not await self.driver.start(self.queue, [received.receipt]):
            return received
        again = await self.one()
        assert again.id == received.id, f"{received.id} expected, {again.id} came"
        assert list(await self.driver.start(self.queue, [again.receipt])) == [], "the start is recorded, and stale"
        return again

    async def ack(self, *received: Received, queue: str | None = None) -> None:
        """Ack; no receipt may be stale."""
        stale = await self.driver.settle(queue or self.queue, [Ack(delivery.receipt) for delivery in received])
        assert list(stale) == [], f"stale receipts: {stale}"

    async def counts(self, ready: int, in_flight: int, delayed: int) -> Depth:
        """The depth has these figures, exactly; not compared where the driver cannot know."""
        depth = await self.driver.depth(self.queue)
        if self.driver.capabilities.has("exact_depth"):
            figures = (depth.ready, depth.in_flight, depth.delayed)
            assert figures == (ready, in_flight, delayed), f"depth {figures}, not {(ready, in_flight, delayed)}"
            assert await self.driver.occupancy(self.queue) == Occupancy(ready > 0, in_flight + delayed > 0), figures
        return depth


Kind = Callable[[Receipt], Settlement]
"""Ack, Nack or Release."""


Case = Callable[[Any, Any], Awaitable[None]]


def ids(messages: Iterable[Received]) -> list[str]:
    """The ids, in the order given."""
    return [message.id for message in messages]


async def each_result(answer: Awaitable[Answers], number: int) -> list[DriverError | None]:
    """One result for each item of a batch of which none is unique, whichever way the driver reports it."""
    try:
        answers = await answer
    except DriverError as error:
        return [error] * number
    assert len(answers) in {0, number}, f"{len(answers)} results for {number} items"
    results = [each for each in answers if not isinstance(each, Merged)]
    assert len(results) == len(answers), f"no message is unique: {answers}"
    return results or [None] * number


async def ended(task: asyncio.Task[Any]) -> Any:
    """The result of a task, or its error."""
    return (await asyncio.gather(task, return_exceptions=True))[0]


async def until_back(ask: Callable[[], Awaitable[T]]) -> T:
    """What it answers once the broker is back; the case's own timeout is the bound."""
    while True:
        try:
            return await ask()
        except GONE:
            await asyncio.sleep(0.05)


async def turn(times: int) -> None:
    """Let the event loop go round."""
    for _ in range(times):
        await asyncio.sleep(0)


async def cancelled(task: asyncio.Task[Any]) -> Any:
    """Cancel a task; its result, if it has one all the same, else its error."""
    task.cancel()
    return await ended(task)


def case(*needs: str) -> Callable[[Case], Callable[[Any], None]]:
    """Make a synchronous test of a coroutine that takes a rig; skipped where the driver or its store lacks a need.

    :meth:`tasuki.contracts.driver.Capabilities.has` knows the names of drivers: abilities, ``multi_process``,
    ``unique:replace``. Stores have the fields of StoreFacts, and ``durable`` for a durability above ``memory``.
    """

    def decorate(function: Case) -> Callable[[Any], None]:
        def test(self: Suite) -> None:
            asyncio.run(_run(self, function, needs))

        test.__name__ = test.__qualname__ = function.__name__
        test.__doc__ = function.__doc__
        test.__module__ = function.__module__
        return test

    return decorate


async def _run(suite: Suite, function: Case, needs: tuple[str, ...]) -> None:
    async with asyncio.timeout(suite.case_timeout), open_rig(suite, needs) as rig:
        await function(suite, rig)


@asynccontextmanager
async def open_rig(suite: Suite, needs: Sequence[str] = ()) -> AsyncIterator[Rig]:
    """A rig with its own place for the time of the block. Raises SkipTest for a need that is not claimed."""
    with tempfile.TemporaryDirectory(prefix="tasuki-") as place:
        rig = suite.rig(Path(place), ShiftedClock())
        try:
            await rig.start(needs)
            yield rig
        finally:
            await rig.stop()


def has(driver: Driver, capability: str) -> bool:
    """Whether the driver has the capability; see :meth:`tasuki.contracts.driver.Capabilities.has`."""
    return driver.capabilities.has(capability)


Verb = Callable[[], Awaitable[object]]


def verbs(rig: Rig, queue: str) -> Iterator[Verb]:
    """All that needs a declared queue."""
    driver = rig.driver
    yield from fresh_verbs(rig, queue)
    yield lambda: driver.settle(queue, [Ack(1)])
    yield lambda: driver.extend(queue, [1], rig.long)
    yield lambda: driver.move(queue, [Move(1, queue, (rig.message(),))])


def fresh_verbs(rig: Rig, queue: str) -> Iterator[Verb]:
    """The same without those that end or keep open deliveries."""
    driver = rig.driver
    yield lambda: driver.publish(queue, [rig.message()])
    yield lambda: driver.receive(queue, 1, 0.0)
    yield lambda: driver.depth(queue)
    yield lambda: driver.occupancy(queue)
    claimed: list[tuple[str, Verb]] = [
        ("peek", lambda: driver.peek(queue, 1)),
        ("find", lambda: driver.find(queue, ["1"])),
        ("locate", lambda: driver.locate(queue, ["1"])),
        ("causes", lambda: driver.causes(queue, 10)),
        ("causes", lambda: driver.peek_cause(queue, "0123456789ab", 1)),
        ("purge", lambda: driver.purge(queue)),
        ("remove", lambda: driver.remove(queue, ["1"])),
        ("expedite", lambda: driver.expedite(queue, ["1"])),
        ("transfer", lambda: driver.transfer(queue, [Transfer("1", queue, rig.message())])),
    ]
    yield from (verb for capability, verb in claimed if has(driver, capability))


async def raises(kind: type[DriverError], rig: Rig, verb: Verb) -> DriverError:
    """The error of the verb, within the suite's patience."""
    try:
        async with asyncio.timeout(rig.suite.patience):
            await verb()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} expected, and nothing was raised")
