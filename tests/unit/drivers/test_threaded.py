"""A driver on its own thread: what a cancelled, blocked, forked or foreign caller leaves behind."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NoReturn

import pytest

from tasuki.contracts.driver import (
    Capabilities,
    Driver,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
)
from tasuki.contracts.groups import Browses, Changes
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.toolkit.threaded import Threaded
from tasuki.errors import BrokerUnavailableError, DriverError
from tasuki.system import loop_thread
from tasuki.system.threads import problems

pytestmark = pytest.mark.anyio


class Slow(Driver):
    """Says when a verb has begun, ends it on request, and notes the calls."""

    capabilities = Capabilities()

    def __init__(self) -> None:
        super().__init__("slow")
        self.begun, self.go = threading.Event(), threading.Event()
        self.settled: list[Settlement] = []
        self.threads: set[int] = set()
        self.beats = 0
        self.opened_on: list[asyncio.AbstractEventLoop] = []
        self.refused_with: Exception | None = None

    async def open(self) -> None:
        if self.refused_with is not None:
            raise self.refused_with
        self.opened_on.append(asyncio.get_running_loop())
        self.threads.add(threading.get_ident())
        self._beating = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            self.beats += 1
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        self._beating.cancel()

    async def declare(self, spec: QueueSpec) -> None:
        self.threads.add(threading.get_ident())

    async def undeclare(self, queue: str) -> None:
        self.threads.add(threading.get_ident())

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        return spec

    async def start(self, queue: str, batch: Sequence[Receipt]) -> list[Receipt]:
        return []

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> tuple[()]:
        await self._work()
        return ()

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        await self._work(is_shielded=True)
        return [Received("id", b"", {}, receipt=1)]

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> list[Receipt]:
        await self._work()
        self.settled += batch
        return []

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> list[Receipt]:
        return []

    async def delete(self, queue: str) -> None:
        raise NotImplementedError

    async def depth(self, queue: str) -> NoReturn:
        raise DriverError("no", driver=self.name, queue=queue)

    async def _work(self, *, is_shielded: bool = False) -> None:
        self.begun.set()
        waiting = asyncio.ensure_future(asyncio.to_thread(self.go.wait, 10))
        while not waiting.done():
            try:
                await asyncio.shield(waiting)
            except asyncio.CancelledError:
                if not is_shielded:
                    raise


@pytest.fixture
async def slow() -> AsyncIterator[tuple[Threaded, Slow]]:
    inner = Slow()
    driver = Threaded(inner)
    await driver.open()
    yield driver, inner
    inner.go.set()
    await driver.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_close_ends_what_is_under_way_with_an_error(slow: tuple[Threaded, Slow]) -> None:
    driver, inner = slow
    task = asyncio.create_task(driver.publish("q", [Outgoing("a", b"", {})]))
    await until(inner.begun.is_set)
    closing = asyncio.create_task(driver.close())
    with pytest.raises(BrokerUnavailableError):
        await task
    inner.go.set()
    await closing


async def test_a_blocked_loop_does_not_stop_the_driver(slow: tuple[Threaded, Slow]) -> None:
    _, inner = slow
    before = inner.beats
    time.sleep(0.3)  # a handler that computes
    assert inner.beats > before + 5


async def test_errors_come_through_and_the_thread_is_another(slow: tuple[Threaded, Slow]) -> None:
    driver, inner = slow
    with pytest.raises(DriverError, match="no"):
        await driver.depth("q")
    await driver.declare(QueueSpec("q"))
    assert threading.get_ident() not in inner.threads
    assert len(inner.threads) == 1


async def test_extend_from_another_loop(slow: tuple[Threaded, Slow]) -> None:
    driver, _ = slow

    def extend() -> object:
        return asyncio.run(driver.extend("q", [1], 1.0))

    assert await asyncio.to_thread(extend) == []


def threads_of(driver: Driver) -> list[threading.Thread]:
    """By name: threads of other tests may end meanwhile."""
    return [thread for thread in threading.enumerate() if thread.name == f"tasuki {driver.name}"]


async def test_a_thread_lives_from_open_to_close() -> None:
    driver = Threaded(MemoryDriver("m"))
    await driver.declare(QueueSpec("q"))
    assert not threads_of(driver)
    for _ in range(3):
        await driver.open()
        await driver.open()
        assert len(threads_of(driver)) == 1
        await driver.publish("q", [Outgoing("a", b"", {})])
        await asyncio.gather(driver.close(), driver.close())
        assert not threads_of(driver)
    await driver.open()
    assert (await driver.depth("q")).ready == 3
    await driver.close()


async def test_an_open_that_fails_leaves_no_thread() -> None:
    class Broken(Slow):
        async def open(self) -> None:
            raise BrokerUnavailableError("gone", driver="slow")

    driver = Threaded(Broken())
    with pytest.raises(BrokerUnavailableError):
        await driver.open()
    assert not threads_of(driver)
    with pytest.raises(BrokerUnavailableError, match="not open"):
        await driver.publish("q", [])


async def test_a_loop_that_fails_is_answered_known_and_begins_again(slow: tuple[Threaded, Slow]) -> None:
    driver, inner = slow
    await driver.declare(QueueSpec("q"))
    call = asyncio.create_task(driver.receive("q", 1, 1.0))
    await until(inner.begun.is_set)
    driver._guard.get().tell(exit_thread)
    async with asyncio.timeout(30):
        with pytest.raises(BrokerUnavailableError, match="begins again: SystemExit: no more") as failed:
            await call
        assert failed.value.outcome == "unknown"
        inner.go.set()
        while True:  # until it works again, every call says so
            try:
                await driver.publish("q", [])
            except BrokerUnavailableError:
                await asyncio.sleep(0.01)
            else:
                break
    assert len(inner.opened_on) == 2, "the broker's driver is opened anew, on the new loop"
    assert inner.opened_on[0] is not inner.opened_on[1]
    assert "tasuki slow" not in problems()


async def test_one_that_cannot_begin_again_is_known_and_can_be_closed(slow: tuple[Threaded, Slow]) -> None:
    driver, inner = slow
    inner.refused_with = OSError("no files")
    driver._guard.get().tell(exit_thread)
    await until(lambda: "no files" in problems().get("tasuki slow", ""))
    with pytest.raises(BrokerUnavailableError, match="no files"):
        await driver.publish("q", [])
    async with asyncio.timeout(30):
        await driver.close()
    assert "tasuki slow" not in problems()


async def test_without_a_thread_the_broker_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Threaded(MemoryDriver("m"))

    def short() -> NoReturn:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(loop_thread, "new_event_loop", short)
        with pytest.raises(BrokerUnavailableError, match="Too many open files"):
            await driver.open()
    await driver.open()
    await driver.close()


def exit_thread() -> NoReturn:
    raise SystemExit("no more")


def test_every_verb_goes_to_the_inner_driver() -> None:
    """A verb that ``Driver`` has a default for would be done without the inner driver's own way."""
    groups = (Driver, Browses, Changes)  # the others stay on the caller's loop
    verbs = {name for each in groups for name, value in vars(each).items() if callable(value) and name[0] != "_"}
    assert verbs <= vars(Threaded).keys()
