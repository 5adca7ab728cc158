"""Sync functions run in threads: cancelled, interrupted, as many as there are threads."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest

from tasuki.contracts.handler import Interrupted, Reject
from tasuki.handlers.threads import outcome_of
from tests.unit.handlers.conftest import CONTEXT, Make

pytestmark = pytest.mark.anyio

variable = contextvars.ContextVar("variable", default="unset")


TRACED = """
import sys
from tasuki.handlers.threads import _Call

def interrupted():
    call.interrupt()

def other():
    return "went on"

sys.settrace(lambda *event: None)
call = _Call(interrupted, (), {})
print(type(call.run()[1]).__name__)
print(other())
"""


class TestThreads:
    async def test_it_gets_as_many_threads_more_as_it_has_places(self, make: Make) -> None:
        together = threading.Barrier(3, timeout=20)
        handler = await make(lambda body: together.wait() if body == "together" else body)
        handler.add_places(2)
        waits = await asyncio.gather(*(handler.handle("together", CONTEXT) for _ in range(3)))
        assert sorted(waits) == [0, 1, 2]
        handler.add_places(-2)
        assert await handler.handle(1, CONTEXT) == 1

    async def test_context_variables_are_copied(self, make: Make) -> None:
        def f() -> str:
            seen = variable.get()
            variable.set("changed in the thread")
            return seen

        variable.set("caller")
        assert await (await make(f)).handle(1, CONTEXT) == "caller"
        assert variable.get() == "caller"

    async def test_as_many_at_once_as_threads(self, make: Make) -> None:
        barrier = threading.Barrier(3, timeout=10)

        def f() -> int:
            return barrier.wait()

        handler = await make(f, threads=3)
        assert sorted(await asyncio.gather(*(handler.handle(1, CONTEXT) for _ in range(3)))) == [0, 1, 2]

    async def test_a_cancelled_one_is_interrupted_and_waited_for(self, make: Make) -> None:
        loop = asyncio.get_running_loop()
        started, gate, ended = asyncio.Event(), threading.Event(), []

        def f() -> None:
            try:
                loop.call_soon_threadsafe(started.set)
                while True:
                    time.sleep(0.001)
            except Interrupted:
                loop.call_soon_threadsafe(started.set)
                gate.wait(10)
                ended.append(True)
                raise

        task = asyncio.ensure_future((await make(f)).handle(1, CONTEXT))
        await started.wait()
        started.clear()
        task.cancel()
        await started.wait()
        assert not task.done()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended

    @pytest.mark.parametrize("error", [None, Reject("no"), ValueError("broken")])
    async def test_one_that_ends_by_itself_after_a_cancel_decides(self, make: Make, error: Exception | None) -> None:
        loop = asyncio.get_running_loop()
        started = asyncio.Event()

        def f() -> str:
            try:
                loop.call_soon_threadsafe(started.set)
                while True:
                    time.sleep(0.001)
            except Interrupted:
                if error is not None:
                    raise error from None
                return "charged"

        handler = await make(f)
        task = asyncio.ensure_future(handler.handle(1, CONTEXT))
        await started.wait()
        task.cancel()
        if error is None:
            assert await task == "charged"
        else:
            with pytest.raises(type(error)):
                await task
        started.clear()
        call = asyncio.ensure_future(handler.call((), CONTEXT))
        await started.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):  # the caller goes on no more
            await call

    async def test_one_that_would_go_on_as_a_coroutine_does_not(self, make: Make) -> None:
        loop = asyncio.get_running_loop()
        started, ran = asyncio.Event(), []

        async def later() -> None:
            ran.append(True)

        def f() -> Any:
            try:
                loop.call_soon_threadsafe(started.set)
                while True:
                    time.sleep(0.001)
            except Interrupted:
                return later()

        task = asyncio.ensure_future((await make(f)).handle(1, CONTEXT))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ran == []

    async def test_a_late_interrupt_never_hits_the_next_call_of_the_thread(self, make: Make) -> None:
        def short() -> str:
            return "".join(map(str, range(20)))

        handler = await make(short, threads=1)
        cancelled = 0
        for _ in range(300):
            task = asyncio.ensure_future(handler.handle(1, CONTEXT))
            await asyncio.sleep(0)
            task.cancel()
            result = (await asyncio.gather(task, return_exceptions=True))[0]
            cancelled += isinstance(result, asyncio.CancelledError)
            assert isinstance(result, asyncio.CancelledError) or result == short()
            assert await handler.handle(1, CONTEXT) == short()
        assert cancelled

    def test_an_interrupted_one_leaves_a_traced_interpreter_alive(self) -> None:
        # In its own process: an interpreter that stands still takes no signal either.
        ended = subprocess.run([sys.executable, "-c", TRACED], capture_output=True, text=True, timeout=100, check=True)
        assert ended.stdout.split() == ["Interrupted", "went", "on"]

    async def test_one_that_has_not_begun_is_cancelled_at_once(self, make: Make) -> None:
        loop = asyncio.get_running_loop()
        started, gate, calls = asyncio.Event(), threading.Event(), []

        def f(body: str) -> None:
            calls.append(body)
            loop.call_soon_threadsafe(started.set)
            gate.wait(10)

        handler = await make(f, threads=1)
        first = asyncio.ensure_future(handler.handle("first", CONTEXT))
        await started.wait()
        second = asyncio.ensure_future(handler.handle("second", CONTEXT))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.set()
        await first
        assert calls == ["first"]

    async def test_stop_does_not_wait_for_a_running_one(self, make: Make) -> None:
        gate = threading.Event()
        handler = await make(lambda: gate.wait(10))
        task = asyncio.ensure_future(handler.handle(1, CONTEXT))
        await asyncio.sleep(0)
        await handler.stop()
        assert not task.done()
        gate.set()
        assert await task is True


def unstoppable() -> None:
    """The cancel of a job that goes on."""


async def test_what_has_ended_already_is_not_waited_for() -> None:
    job: Future[int] = Future()
    job.set_result(7)
    waiting = outcome_of(job, unstoppable)
    with pytest.raises(StopIteration) as done:
        waiting.send(None)
    assert done.value.value == 7


async def test_the_end_in_another_thread_wakes_the_caller() -> None:
    job: Future[int] = Future()
    task = asyncio.ensure_future(outcome_of(job, unstoppable))
    await asyncio.sleep(0)
    thread = threading.Thread(target=job.set_result, args=(7,))
    thread.start()
    assert await task == 7
    thread.join()


async def test_a_cancel_is_passed_on_each_time_and_the_end_is_waited_for() -> None:
    job: Future[int] = Future()
    cancels: list[int] = []
    task = asyncio.ensure_future(outcome_of(job, lambda: cancels.append(1)))
    await asyncio.sleep(0)
    for count in (1, 2):
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        assert len(cancels) == count
    job.set_result(7)
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_job_that_outlives_the_loop_tells_nobody(caplog: pytest.LogCaptureFixture) -> None:
    job: Future[int] = Future()
    loop = asyncio.new_event_loop()
    waiting = outcome_of(job, unstoppable)

    async def begin() -> None:
        waiting.send(None)

    loop.run_until_complete(begin())
    loop.close()
    with caplog.at_level(logging.DEBUG, "concurrent.futures"):
        job.set_result(7)
    waiting.close()
    assert not caplog.records
