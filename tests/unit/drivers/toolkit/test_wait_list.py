"""Who is woken, in which order, and where the wake-up of a cancelled waiter goes."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.drivers.toolkit.wait_list import WaitList, woken

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


async def waiting(list_: WaitList[str], number: int, seconds: float = 60.0) -> list[asyncio.Task[str | None]]:
    tasks = [asyncio.create_task(list_.wait(list_.add(), seconds)) for _ in range(number)]
    await asyncio.sleep(0)
    return tasks


async def ended(tasks: list[asyncio.Task[str | None]]) -> list[bool]:
    for _ in range(5):
        await asyncio.sleep(0)
    return [task.done() for task in tasks]


async def test_one_at_a_time_is_woken_in_the_order_in_which_they_came() -> None:
    list_: WaitList[str] = WaitList()
    tasks = await waiting(list_, 3)
    for number, name in enumerate(("first", "second", "third")):
        assert list_.wake(name)
        assert await ended(tasks) == [True] * (number + 1) + [False] * (2 - number)
    assert [task.result() for task in tasks] == ["first", "second", "third"]
    assert not list_.wake("none waits")
    assert not list_


async def test_a_wait_ends_after_its_time() -> None:
    list_: WaitList[str] = WaitList()
    short, long = list_.add(), list_.add()
    assert await list_.wait(short, 1.5) is None
    assert asyncio.get_running_loop().time() == 1.5
    assert len(list_) == 1
    assert list_.wake("news")
    assert await list_.wait(long, 1.5) == "news"
    assert await list_.wait(list_.add(), -1.0) is None
    assert not list_


async def test_a_cancelled_waiter_is_not_woken() -> None:
    list_: WaitList[str] = WaitList()
    first, second = await waiting(list_, 2)
    first.cancel()
    list_.wake("news")
    assert await second == "news"
    assert not list_


async def test_a_waiter_that_is_cancelled_with_its_wake_up_passes_it_on() -> None:
    list_: WaitList[str] = WaitList()
    first, second, third = await waiting(list_, 3)
    list_.wake("news")
    first.cancel()
    second.cancel()
    assert await third == "news"
    assert first.cancelled()


async def test_the_caller_says_where_the_wake_up_goes() -> None:
    list_: WaitList[str] = WaitList()
    passed_on: list[str] = []
    task = asyncio.create_task(list_.wait(list_.add(), 60.0, passed_on.append))
    await asyncio.sleep(0)
    list_.wake("news")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert passed_on == ["news"]


async def test_a_wake_up_that_comes_with_the_end_of_the_time_is_not_lost() -> None:
    list_: WaitList[str] = WaitList()
    first, second = list_.add(), list_.add()
    asyncio.get_running_loop().call_later(1.0, list_.wake, "news")
    answers = await asyncio.gather(list_.wait(first, 1.0), list_.wait(second, 2.0))
    assert sorted(answers, key=str) == [None, "news"]


async def test_a_waiter_may_do_other_things_and_finds_its_wake_up_when_it_leaves() -> None:
    list_: WaitList[str] = WaitList()
    waiter = list_.add()
    list_.wake("news")
    await asyncio.sleep(1.0)
    assert await woken(waiter, 0.0) == "news"
    assert list_.leave(waiter) == "news"
    other = list_.add()
    assert list_.leave(other) is None
    assert list_.leave(other) is None
    assert not list_.wake("none waits")


async def test_the_first_one_is_served_by_its_limit() -> None:
    list_: WaitList[list[int]] = WaitList()
    gone, first, second = list_.add(9), list_.add(2), list_.add(5)
    gone.done.cancel()
    assert list_.wanted == 16
    stock = [1, 2, 3]

    def take(limit: int) -> list[int]:
        taken = stock[:limit]
        del stock[:limit]
        return taken

    assert list_.serve(take)
    assert list_.serve(take)
    third = list_.add(1)
    assert not list_.serve(take), "there is nothing"
    assert (first.done.result(), second.done.result(), third.done.done()) == ([1, 2], [3], False)
    assert len(list_) == 1


async def test_all_are_woken_or_fail() -> None:
    list_: WaitList[str] = WaitList()
    tasks = await waiting(list_, 2)
    list_.wake_all("close")
    assert await asyncio.gather(*tasks) == ["close", "close"]
    tasks = await waiting(list_, 2)
    list_.fail(OSError("lost"))
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["lost", "lost"]
    assert not list_
