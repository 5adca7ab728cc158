"""``TestApp(inline=True)``: plain functions in the thread of the test; and drains that end after their bound."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from tasuki import App, Context, Interrupted
from tasuki.errors import LifecycleError
from tasuki.testing import NotSettled, TestApp


class Session:
    pass


def test_plain_functions_run_in_the_thread_of_the_test() -> None:
    app = App("memory://")
    jobs, seen = app.queue("jobs"), []
    jobs.task_consumer(concurrency=2)

    def note(name: str) -> None:
        seen.append((name, threading.get_ident()))

    @app.provide(scope="message")
    def session() -> Iterator[Session]:
        note("opened")
        yield Session()
        note("closed")

    @jobs.task
    def second(number: int) -> int:
        note("second")
        return number

    @jobs.task(inject=Session)
    def first(session: Session, number: int) -> None:
        note("first")
        second.send(number)

    @jobs.task
    def asking(context: Context) -> None:
        note("asking")
        assert app.sync.request(jobs, {"number": 7}, {"message_type": "second"}) == 7

    with TestApp(app, inline=True) as t:
        first.send(1)
        assert t.sync.drain().done == 2
        assert [name for name, _ in seen] == ["opened", "first", "closed", "second"]
        asking.send()
        t.sync.drain()
        assert t.settled(jobs) == ["ack"] * 4
        t.sync.run(second, 3)
    assert {thread for _, thread in seen} == {threading.get_ident()}


def test_a_function_that_is_late_is_interrupted_in_the_thread_of_the_test() -> None:
    app = App("memory://")
    jobs, seen = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1}), []

    @jobs.task(handler_timeout="50ms")
    def late() -> None:
        try:
            while True:
                time.sleep(0.001)
        except Interrupted:
            seen.append(threading.get_ident())
            raise

    with TestApp(app, inline=True) as t:
        late.send()
        assert t.sync.drain().dead == 1
    assert seen == [threading.get_ident()]


def test_another_thread_may_publish_meanwhile() -> None:
    app = App("memory://")
    jobs, seen = app.queue("jobs"), []

    @jobs.task
    def note(number: int) -> None:
        seen.append((number, threading.get_ident()))
        if number:
            thread = threading.Thread(target=note.send, args=(number - 1,))
            thread.start()
            thread.join()

    with TestApp(app, inline=True) as t:
        note.send(2)
        assert t.sync.drain().done == 3
    assert seen == [(number, threading.get_ident()) for number in (2, 1, 0)]


def test_it_is_for_tests_without_an_event_loop_and_for_the_twin() -> None:
    async def enter() -> None:
        async with TestApp(App("memory://"), inline=True):
            raise AssertionError

    with pytest.raises(LifecycleError, match="write 'with TestApp"):
        asyncio.run(enter())
    with pytest.raises(ValueError, match="leave out inline, or real"):
        TestApp(App("memory://"), inline=True, real=True)


@pytest.mark.parametrize("real", [False, True])
def test_a_drain_ends_after_its_bound_and_names_the_handler(real: bool) -> None:
    app = App("memory://")
    jobs, gate = app.queue("jobs"), threading.Event()

    @jobs.task
    def stuck(number: int) -> None:
        gate.wait()

    try:
        with TestApp(app, patience="300ms", real=real) as t:
            id = stuck.send(1).id
            with pytest.raises(NotSettled) as raised:
                t.sync.drain()
    finally:
        gate.set()
    assert f"app:jobs {id}: handler app:jobs.task.stuck, attempt 1" in str(raised.value)
    assert "nothing has happened for 300ms" in str(raised.value)
    assert "write TestApp(…, inline=True)" in str(raised.value)


def test_a_drain_of_many_short_handlers_may_take_longer_than_its_bound() -> None:
    app = App("memory://")
    jobs, seen = app.queue("jobs"), []

    @jobs.task
    def short(number: int) -> None:
        time.sleep(0.2)
        seen.append(number)

    with TestApp(app, patience="1s") as t:
        for number in range(8):
            short.send(number)
        assert t.sync.drain().done == 8
