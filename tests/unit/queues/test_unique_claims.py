"""Whatever ends a publish between its key and its message: no key stays without a message, and none is swallowed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from tasuki.contracts.driver import Merged, Outgoing, Unique
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerTimeoutError, BrokerUnavailableError, DriverError, QueueFullError
from tasuki.queues import unique_windows as unique_claims
from tasuki.queues.unique_windows import UniqueWindows, WindowClaim
from tasuki.testing.clock import FakeClock
from tests.unit.queues.fake import outgoing

pytestmark = pytest.mark.anyio

KEY = "unique/jobs/k"
SPAN = 600.0
Result = DriverError | Merged | None
Hook = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """What happens where nothing is hooked."""


class Rig:
    """Windows between a broker and a store, with a hook before and after each of their calls."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.driver = MemoryDriver("app:state", clock=self.clock)
        self.stored: list[str] = []
        self.hooks: dict[str, Hook] = {}
        self.answer: DriverError | None = None
        self.windows = UniqueWindows("app:jobs", "jobs", "app:fake", self._publish)
        self.windows.find_store = self._find

    async def open(self) -> None:
        await self.driver.open()
        self.store = self.driver.store("state")
        await self.store.open()

    async def _find(self) -> Any:
        await self.at("find")
        return Hooked(self)

    async def _publish(self, messages: Sequence[Outgoing], timeout: float) -> list[Result]:
        await self.at("before publish")
        if self.answer is None:
            self.stored += [message.id for message in messages]
        await self.at("after publish")
        return [self.answer] * len(messages)

    async def at(self, point: str) -> None:
        await self.hooks.get(point, nothing)()

    async def publish(self, id: str, timeout: float = 5.0, *others: str) -> Result:
        messages = outgoing(id, *others)
        for message in messages:
            message.unique = Unique("k", SPAN)
        return (await self.windows.publish(messages, timeout))[-1]

    async def settled(self) -> None:
        """Wait for what goes on after a publish."""
        while self.windows._tasks:
            await asyncio.gather(*self.windows._tasks, return_exceptions=True)
            await asyncio.sleep(0)  # from Python 3.12 on, a gather of ended tasks gives the loop no turn


class Hooked:
    """The store, as the windows see it."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def __getattr__(self, verb: str) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **options: Any) -> Any:
            await self._rig.at(f"before {verb}")
            try:
                return await getattr(self._rig.store, verb)(*args, **options)
            finally:
                await self._rig.at(f"after {verb}")

        return call


@pytest.fixture
async def rig() -> Rig:
    found = Rig()
    await found.open()
    return found


def failing(times: int, error: DriverError) -> Hook:
    """Fail this many times."""
    left = [times]

    async def fail() -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise error

    return fail


def lost() -> DriverError:
    return BrokerTimeoutError("no answer", outcome="unknown")


async def test_a_lost_answer_of_the_claim_is_looked_up(rig: Rig) -> None:
    rig.hooks["after put"] = failing(1, lost())
    assert await rig.publish("a") is None
    assert await rig.publish("b") == Merged("kept", "a")
    assert rig.stored == ["a"]


async def test_a_claim_whose_answers_are_all_lost_is_given_back(rig: Rig) -> None:
    rig.hooks["after put"], rig.hooks["before get"] = failing(1, lost()), failing(2, BrokerUnavailableError("away"))
    problem = await rig.publish("a")
    assert isinstance(problem, DriverError)
    assert problem.outcome == "rejected"
    await rig.settled()
    assert await rig.store.get(KEY) is None
    assert await rig.publish("b") is None
    assert rig.stored == ["b"]


async def test_a_slow_store_leaves_no_key(rig: Rig) -> None:
    rig.hooks["after put"] = asyncio.Event().wait  # type: ignore[assignment]
    problem = await rig.publish("a", 0.05)
    assert isinstance(problem, BrokerTimeoutError)
    assert problem.outcome == "rejected"
    rig.hooks.clear()
    await rig.settled()
    assert await rig.publish("b") is None
    assert rig.stored == ["b"]


POINTS = ["find", *(f"{when} {verb}" for verb in ("put", "publish") for when in ("before", "after"))]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("point", POINTS)
async def test_a_publisher_cancelled_anywhere_leaves_a_key_only_with_its_message(
    rig: Rig, point: str, number: int
) -> None:
    if number and "publish" in point:
        return  # it comes once
    reached, go_on, calls = asyncio.Event(), asyncio.Event(), [0]

    async def stop() -> None:
        calls[0] += 1
        if calls[0] == number + 1:
            reached.set()
            await go_on.wait()

    rig.hooks[point] = stop
    publishing = asyncio.ensure_future(rig.publish("a"))
    await reached.wait()
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    go_on.set()
    await rig.settled()
    is_stored = rig.stored == ["a"]
    assert is_stored == (number == 1 or "publish" in point)
    assert await rig.publish("b") == (Merged("kept", "a") if is_stored else None)
    rig.clock.advance(SPAN - 1)
    assert await rig.publish("c") == Merged("kept", rig.stored[0]), "for the whole window"


async def test_a_publisher_killed_between_key_and_message_holds_up_others_for_a_moment_only(rig: Rig) -> None:
    await unique_claims.take(rig.store, WindowClaim(KEY, b"a", SPAN), 15.0)
    problem = await rig.publish("b", 0.05)
    assert isinstance(problem, BrokerTimeoutError)
    assert (problem.outcome, problem.retryable) == ("rejected", True)
    rig.clock.advance(15.5)
    assert await rig.publish("b") is None
    assert rig.stored == ["b"]


async def test_a_publish_of_the_same_id_takes_the_claim_of_a_killed_one(rig: Rig) -> None:
    await unique_claims.take(rig.store, WindowClaim(KEY, b"a", SPAN), 15.0)
    assert await rig.publish("a") is None
    assert await rig.publish("b") == Merged("kept", "a")


async def held_publish(rig: Rig) -> tuple[asyncio.Future[Result], asyncio.Future[Result], asyncio.Event]:
    """A publish that waits at the broker, one that waits for its key, and what ends the first."""
    reached, go_on, looked = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stop() -> None:
        reached.set()
        await go_on.wait()

    async def look() -> None:
        looked.set()

    rig.hooks["before publish"] = stop
    first = asyncio.ensure_future(rig.publish("a"))
    await reached.wait()
    rig.hooks["after get"] = look
    second = asyncio.ensure_future(rig.publish("b"))
    await looked.wait()
    return first, second, go_on


async def test_another_publish_waits_and_is_kept_once_the_message_is_stored(rig: Rig) -> None:
    first, second, go_on = await held_publish(rig)
    assert not second.done()
    go_on.set()
    assert await first is None
    assert await second == Merged("kept", "a")


async def test_another_publish_waits_and_is_stored_if_the_message_is_rejected(rig: Rig) -> None:
    first, second, go_on = await held_publish(rig)
    rig.answer = QueueFullError("full", outcome="rejected")

    async def room() -> None:
        rig.answer = None

    rig.hooks["after delete"] = room
    go_on.set()
    assert isinstance(await first, QueueFullError)
    assert await second is None
    assert rig.stored == ["b"]


async def test_the_next_one_of_a_batch_is_stored_if_the_first_is_rejected(rig: Rig) -> None:
    rig.answer = QueueFullError("full", outcome="rejected")

    async def room() -> None:
        rig.answer = None

    rig.hooks["after publish"] = nothing
    rig.hooks["after delete"] = room
    assert await rig.publish("a", 5.0, "b") is None
    assert rig.stored == ["b"]


async def test_a_record_that_fails_is_made_again(rig: Rig) -> None:
    published = asyncio.Event()

    async def away() -> None:
        if rig.stored and not published.is_set():
            published.set()
            raise BrokerUnavailableError("away")

    rig.hooks["before put"] = away
    assert await rig.publish("a") is None
    assert published.is_set()
    rig.clock.advance(SPAN - 1)
    assert await rig.publish("b") == Merged("kept", "a")


async def test_a_late_give_back_leaves_what_another_publish_has_claimed(rig: Rig) -> None:
    mine, other = WindowClaim(KEY, b"a", SPAN), WindowClaim(KEY, b"a", SPAN)
    await unique_claims.take(rig.store, mine, 15.0)
    await unique_claims.take(rig.store, other, 15.0)
    await unique_claims.give_back(rig.store, mine)
    mine.version = 0
    await unique_claims.give_back(rig.store, mine)
    assert await rig.store.get(KEY) is not None
    await unique_claims.keep(rig.store, other)
    assert await unique_claims.take(rig.store, WindowClaim(KEY, b"b", SPAN), 15.0) == Merged("kept", "a")


@pytest.mark.parametrize("is_rejected", [False, True])
async def test_a_publisher_that_stood_still_for_longer_than_its_claim_leaves_the_key_to_the_next_message(
    rig: Rig, is_rejected: bool
) -> None:
    async def stands_still() -> None:
        del rig.hooks["before publish"]
        rig.clock.advance(100)
        assert await rig.publish("b") is None
        rig.answer = QueueFullError("full", outcome="rejected") if is_rejected else None

    rig.hooks["before publish"] = stands_still
    await rig.publish("a")
    await rig.settled()
    assert rig.stored == ["b"] if is_rejected else ["b", "a"]
    assert await rig.publish("c") == Merged("kept", "b")


async def test_of_two_publishes_of_one_id_the_later_rejection_leaves_the_key(rig: Rig) -> None:
    stored, rejected = WindowClaim(KEY, b"a", SPAN), WindowClaim(KEY, b"a", SPAN)
    await unique_claims.take(rig.store, stored, 15.0)
    await unique_claims.take(rig.store, rejected, 15.0)
    await unique_claims.keep(rig.store, stored)
    await unique_claims.give_back(rig.store, rejected)
    assert await unique_claims.take(rig.store, WindowClaim(KEY, b"b", SPAN), 15.0) == Merged("kept", "a")


@pytest.mark.parametrize("timeout", [5.0, 60.0, 3600.0])
async def test_a_claim_lasts_until_its_message_is_stored_however_long_the_publisher_waits(
    rig: Rig, timeout: float
) -> None:
    """Else another message of the key is stored before the first one is, and both are confirmed."""

    async def publish_at_the_last_moment(messages: Sequence[Outgoing], left: float) -> list[Result]:
        rig.clock.advance(left)
        assert await rig.store.get(KEY) is not None
        return [None] * len(messages)

    rig.windows._publish = publish_at_the_last_moment
    assert await rig.publish("a", timeout) is None
    await rig.settled()
    entry = await rig.store.get(KEY)
    assert entry is not None
    assert entry.value == b"=a"
