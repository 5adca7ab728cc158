from __future__ import annotations

import asyncio

import pytest

from tasuki.drivers.redis.listening import SLACK, News, Waiters
from tasuki.drivers.toolkit.wait_list import woken

pytestmark = pytest.mark.anyio

FAR = 1000.0


@pytest.fixture
def passed_on() -> list[str]:
    return []


@pytest.fixture
def checks() -> list[list[str]]:
    return []


@pytest.fixture
def waiters(passed_on: list[str], checks: list[list[str]]) -> Waiters:
    return Waiters(passed_on.append, checks.append)


async def test_the_one_that_waited_longest_is_woken(waiters: Waiters, passed_on: list[str]) -> None:
    first, second, other = waiters.join("q"), waiters.join("q"), waiters.join("r")
    waiters.wake("q")
    assert [waiter.done.done() for waiter in (first, second, other)] == [True, False, False]
    waiters.wake("q")
    assert [waiter.done.done() for waiter in (first, second, other)] == [True, True, False]
    assert not passed_on


async def test_a_wake_up_that_no_receiver_hears_is_passed_on(waiters: Waiters, passed_on: list[str]) -> None:
    waiters.join("q").done.cancel()
    for queue in ("q", "unknown"):
        waiters.wake(queue)
        waiters.wake_one(queue)  # for all processes: the others have heard it too
    assert passed_on == ["q", "unknown"]


async def test_news_for_all_processes_is_told_from_news_for_this_one(waiters: Waiters) -> None:
    first, second = waiters.join("q"), waiters.join("q")
    waiters.wake_one("q")
    waiters.wake("q")
    assert (await first.done, await second.done) == (News.ALL, News.MINE)


async def test_a_receiver_that_left_or_was_cancelled_is_not_woken(waiters: Waiters) -> None:
    first, second, third = (waiters.join("q") for _ in range(3))
    waiters.leave("q", first)
    second.done.cancel()
    waiters.wake("q")
    assert first.done.cancelled()
    assert third.done.done()
    for waiter in (first, second, third):
        waiters.leave("q", waiter)
    assert waiters.count("q") == 0


async def test_all_are_woken(waiters: Waiters) -> None:
    waiting = [waiters.join(queue) for queue in ("q", "q", "r")]
    waiting[0].done.cancel()
    waiters.registered("q", 0, FAR)
    waiters.wake_all()
    assert all(waiter.done.done() for waiter in waiting)
    assert not waiters.is_registered("q")


async def test_a_wait_ends_by_itself(waiters: Waiters) -> None:
    async with asyncio.timeout(5):
        assert await woken(waiters.join("q"), 0.01) is None
        assert await woken(waiters.join("q"), -1.0) is None


async def test_registered_it_stays_until_it_is_woken(waiters: Waiters) -> None:
    waiter = waiters.join("q")
    waiters.registered("q", waiters.wakes("q"), FAR)
    waiters.leave("q", waiter)
    assert waiters.is_registered("q"), "the next receiver need not ask"
    waiters.join("q")
    waiters.wake("q")
    assert not waiters.is_registered("q")


async def test_a_wake_up_that_came_before_the_answer_uses_the_registration_up(waiters: Waiters) -> None:
    waiters.join("q")
    wakes = waiters.wakes("q")
    waiters.wake("q")
    waiters.registered("q", wakes, FAR)
    assert not waiters.is_registered("q")


async def test_all_queues_whose_time_has_come_are_checked_at_once(waiters: Waiters, checks: list[list[str]]) -> None:
    queues = [f"q{number}" for number in range(1000)]
    for queue in queues:
        waiters.join(queue)
        waiters.registered(queue, 0, SLACK + 0.01)
    waiters.join("later")
    waiters.registered("later", 0, FAR)
    async with asyncio.timeout(5):
        for _ in range(2):
            while not checks:
                await asyncio.sleep(0.01)
            assert checks.pop() == sorted(queues)
            for queue in queues:
                waiters.checked(queue, SLACK + 0.01)


async def test_what_is_due_soon_is_not_checked_again_and_again_until_then(
    waiters: Waiters, checks: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check with others comes early; those that it then asks for come less early, and at last on time."""
    clock = FAR
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock)
    waiters.join("q")
    waiters.registered("q", 0, 10.0)
    counts: list[int] = []
    for seconds in 7.4, 7.6, 7.7, 9.3, 9.5, 9.6, 9.9, 10.0:
        clock = FAR + seconds
        waiters._check_due()  # as the timer of another queue does
        if len(checks) > sum(counts[-1:]):
            waiters.checked("q", 10.0 - seconds)
        counts.append(len(checks))
    assert counts == [0, 1, 1, 1, 2, 2, 2, 3]


async def test_a_check_that_found_something_wakes_one(waiters: Waiters, passed_on: list[str]) -> None:
    first, second = waiters.join("q"), waiters.join("q")
    waiters.registered("q", 0, FAR)
    waiters.checked("q", None)
    assert await first.done is News.MINE
    waiters.checked("q", None)
    assert not second.done.done(), "it was woken while it was checked: the first one asks already"
    assert not passed_on


async def test_without_a_receiver_the_time_to_check_is_passed_on(
    waiters: Waiters, passed_on: list[str], checks: list[list[str]]
) -> None:
    waiters.leave("q", waiters.join("q"))
    waiters.registered("q", waiters.wakes("q"), 0.01)
    async with asyncio.timeout(5):
        while not passed_on:
            await asyncio.sleep(0.01)
    assert passed_on == ["q"]
    assert not checks
    assert not waiters.is_registered("q")
