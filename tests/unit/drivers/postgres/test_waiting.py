"""A wake-up wakes one receive, also one that comes while a receive asks, and one statement looks into many queues."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tasuki.drivers.postgres.waiting import Waiting
from tasuki.errors import BrokerUnavailableError

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True


class Server:
    """Answers looks, and notes what it was asked."""

    def __init__(self) -> None:
        self.looks: list[list[str]] = []
        self.ready: set[str] = set()
        self.passed_on: list[str] = []
        self.is_away = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.waiting = Waiting(self.look, self.pass_on, self.spawn)

    async def look(self, queues: list[str]) -> list[Any]:
        self.looks.append(queues)
        if self.is_away:
            raise BrokerUnavailableError("away")
        return [(queue, queue in self.ready, 10.0, False) for queue in queues]

    async def pass_on(self, queue: str) -> None:
        self.passed_on.append(queue)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(task := asyncio.ensure_future(work))
        task.add_done_callback(self._tasks.discard)

    async def waits(self, *queues: str) -> list[asyncio.Task[bool]]:
        tasks = [asyncio.create_task(self.waiting.wait(queue, 60.0)) for queue in queues]
        await asyncio.sleep(0)
        return tasks


async def woken(tasks: list[asyncio.Task[bool]]) -> list[bool]:
    """Which of these were woken by now."""
    for _ in range(5):
        await asyncio.sleep(0)
    return [task.done() and task.result() for task in tasks]


async def test_a_timer_need_not_know_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop answers call_at with a bare handle where the time has come."""

    class Handle:
        _source_traceback = None

        def cancel(self) -> None: ...

    server = Server()
    monkeypatch.setattr(asyncio.get_running_loop(), "call_at", lambda *_, **__: Handle())
    tasks = await server.waits("a", "b")
    server.waiting.wake("b")
    assert await woken(tasks) == [False, True]


async def test_a_wake_up_wakes_one_receive_and_the_next_one_another() -> None:
    server = Server()
    tasks = await server.waits("q", "q", "other")
    server.waiting.wake("q")
    assert await woken(tasks) == [True, False, False]
    server.waiting.wake("q")
    assert await woken(tasks) == [True, True, False]
    assert server.passed_on == []
    server.waiting.wake_all()
    assert await asyncio.gather(*tasks) == [True, True, True]


async def test_a_wake_up_without_a_receive_is_passed_on() -> None:
    server = Server()
    server.waiting.wake("q")
    await asyncio.sleep(0)
    assert server.passed_on == ["q"]


async def test_a_wake_up_while_a_receive_asks_is_its_news() -> None:
    server = Server()
    line = server.waiting.line("q")
    line.asking, before = 1, line.news
    server.waiting.wake("q")
    await asyncio.sleep(0)
    assert line.news != before
    assert server.passed_on == []


async def test_the_wake_up_of_a_receive_that_is_cancelled_in_the_same_moment_wakes_the_next() -> None:
    server = Server()
    tasks = await server.waits("q", "q")
    server.waiting.wake("q")
    tasks[0].cancel()
    await asyncio.gather(tasks[0], return_exceptions=True)
    assert await woken(tasks[1:]) == [True]


async def test_a_wait_ends_by_itself_and_leaves_nothing() -> None:
    server = Server()
    assert not await server.waiting.wait("q", 0.0)
    assert not await server.waiting.wait("q", -1.0)
    assert not server.waiting.line("q").receives


async def test_queues_whose_time_has_come_are_looked_into_by_one_statement() -> None:
    server = Server()
    for queue in "abc":
        server.waiting.line(queue)
        server.waiting.noted(queue, 5.0, False)
    server.ready = {"b"}
    tasks = await server.waits("a", "b")
    await asyncio.sleep(6.0)
    assert server.looks == [["a", "b"]], "no receive waits on c"
    assert await woken(tasks) == [False, True]
    await asyncio.sleep(10.0)
    assert server.looks[1:] == [["a"]]
    tasks[0].cancel()


async def test_who_has_just_begun_to_wait_looks_once_more() -> None:
    server = Server()
    server.waiting.line("q")
    server.waiting.noted("q", 5.0, True)
    (task,) = await server.waits("q")
    await asyncio.sleep(1.0)
    assert server.looks == [["q"]]
    task.cancel()


async def test_a_queue_is_quiet_until_something_is_heard_or_it_is_time_to_look() -> None:
    server = Server()
    waiting = server.waiting
    assert not waiting.is_quiet("q")
    waiting.noted("q", 5.0, False)
    assert waiting.is_quiet("q")
    waiting.stir("q")
    assert not waiting.is_quiet("q")
    waiting.noted("q", 5.0, False)
    await asyncio.sleep(6.0)
    assert not waiting.is_quiet("q")


async def test_when_no_check_is_possible_each_receive_asks_for_itself() -> None:
    server = Server()
    server.is_away = True
    tasks = await server.waits("q", "q")
    server.waiting.refresh()
    await asyncio.sleep(1.0)
    assert await woken(tasks) == [True, True]


async def test_a_receive_that_took_as_many_as_it_wanted_wakes_the_next() -> None:
    server = Server()
    tasks = await server.waits("q", "q")
    server.waiting.took("q", is_full=True)
    assert await woken(tasks) == [True, False]
    server.waiting.took("q", is_full=False)
    await asyncio.sleep(1.0)
    assert server.looks == [["q"]], "the other one is noted again"
    tasks[1].cancel()
