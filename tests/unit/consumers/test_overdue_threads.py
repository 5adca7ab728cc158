"""Plain functions that run longer than ``handler_timeout``: in real time, as they run in threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tasuki import App, Interrupted, interrupted_as
from tasuki.errors import HandlerError, StopTimeoutError

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = False

LIMIT = "50ms"


def busy(until: threading.Event) -> None:
    """Python code that goes on until told to end; each step can be interrupted."""
    ends_at = time.monotonic() + 30
    while not until.is_set() and time.monotonic() < ends_at:
        time.sleep(0.001)


async def eventually(condition: object) -> None:
    async with asyncio.timeout(30):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)


async def test_it_is_interrupted_and_counts_as_failed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    app = App("memory://", root=tmp_path)
    queue, ended = app.queue("tasks", dead_letter={"queue": "dead", "max_attempts": 1}), []

    @queue.consumer(handler_timeout=LIMIT)
    def handle(body: int) -> None:
        try:
            busy(threading.Event())
        finally:
            ended.append(body)

    async with app.worker():
        await queue.publish(1)
        await eventually(lambda: ended)
        dead = app.queue("dead")
        while not (letters := await dead.peek()):
            await asyncio.sleep(0.005)
    assert "ran longer than handler_timeout (50ms)" in str(letters[0].headers["x_last_error"])
    assert caplog.text.count("has run for handler_timeout (50ms): interrupted") == 1


async def test_what_finishes_after_all_counts_and_is_not_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A card that was charged must not be charged again."""
    app = App("memory://", root=tmp_path)
    queue, charged, finish = app.queue("tasks"), Counter[int](), threading.Event()

    @queue.consumer(handler_timeout=LIMIT)
    def handle(body: int) -> str:
        try:
            busy(finish)
        except Interrupted:
            finish.wait(30)  # it is in the middle of something
        charged[body] += 1
        return "charged"

    async with app.worker():
        await queue.publish(1)
        await eventually(lambda: "has run for handler_timeout" in caplog.text)
        assert (await queue.info())["in_flight"] == 1, "nobody else gets it meanwhile"
        finish.set()
        while (await queue.info())["message_count"]:
            await asyncio.sleep(0.005)
    assert charged == {1: 1}
    assert "failed" not in caplog.text


class TimeIsOver(Exception):
    pass


@pytest.mark.parametrize("swallows", [False, True])
async def test_code_that_cleans_up_in_except_exception_gets_an_exception(tmp_path: Path, swallows: bool) -> None:
    app = App("memory://", root=tmp_path)
    queue, seen = app.queue("tasks", dead_letter={"queue": "dead", "max_attempts": 1}), []

    @queue.consumer(handler_timeout=LIMIT)
    def handle(body: int) -> None:
        with interrupted_as(TimeIsOver):
            try:
                busy(threading.Event())
            except Exception as error:
                seen.append(type(error))
                if not swallows:
                    raise

    async with app.worker():
        await queue.publish(1)
        while (await queue.info())["message_count"]:
            await asyncio.sleep(0.005)
        letters = await app.queue("dead").peek()
    assert seen == [TimeIsOver]
    assert ["handler_timeout" in str(letter.headers["x_last_error"]) for letter in letters] == (
        [] if swallows else [True]
    )


async def test_after_the_block_it_is_interrupted_as_before(tmp_path: Path) -> None:
    app = App("memory://", root=tmp_path)
    queue, seen, ended = app.queue("tasks"), [], asyncio.Event()
    loop = asyncio.get_running_loop()

    @queue.consumer(handler_timeout=LIMIT)
    def handle(body: int) -> None:
        with interrupted_as(TimeIsOver):
            pass
        try:
            busy(threading.Event())
        except BaseException as error:
            seen.append(type(error))
            loop.call_soon_threadsafe(ended.set)

    async with app.worker():
        await queue.publish(1)
        await asyncio.wait_for(ended.wait(), 60)
    assert seen == [Interrupted]


def test_outside_a_worker_the_block_runs_as_it_is() -> None:
    with interrupted_as(TimeIsOver):
        assert threading.current_thread() is not None


def test_an_error_that_cannot_be_raised_in_a_thread_is_refused() -> None:
    class Told(Exception):
        def __init__(self, text: str) -> None: ...

    for wrong in (Told, Interrupted, TimeIsOver(), "TimeIsOver"):
        with pytest.raises(TypeError, match="needs a class of exceptions whose instances take no argument"):
            interrupted_as(wrong).__enter__()  # type: ignore[arg-type]


async def test_on_an_event_loop_it_says_what_to_write() -> None:
    with pytest.raises(HandlerError, match=r"in an async def write 'async with asyncio\.timeout\(…\)'"):
        interrupted_as(TimeIsOver).__enter__()


async def test_a_stop_interrupts_and_hands_back(tmp_path: Path) -> None:
    app = App("memory://", root=tmp_path)
    queue, running, seen = app.queue("tasks"), threading.Event(), []

    @queue.consumer(lifecycle={"stop_timeout": "10ms"})
    def handle(body: int) -> None:
        running.set()
        try:
            busy(threading.Event())
        except Interrupted as error:
            seen.append(type(error))
            raise

    await app.start()
    await queue.publish(1)
    await asyncio.to_thread(running.wait, 30)
    with pytest.raises(StopTimeoutError):
        await app.close()
    assert seen == [Interrupted]


async def test_it_is_interrupted_while_another_handler_blocks_the_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = App("memory://", root=tmp_path)
    tasks, blocking = app.queue("tasks", dead_letter={"queue": "dead", "max_attempts": 1}), app.queue("blocking")
    running, ended, interrupted = threading.Event(), threading.Event(), []

    @tasks.consumer(handler_timeout=LIMIT)
    def handle(body: int) -> None:
        running.set()
        try:
            busy(threading.Event())
        finally:
            ended.set()

    @blocking.consumer(handler_timeout=LIMIT)
    async def block(body: int) -> None:
        assert running.wait(30)
        interrupted.append(ended.wait(30))
        ends_at = time.monotonic() + 30
        while "it blocks the event loop" not in caplog.text and time.monotonic() < ends_at:
            time.sleep(0.001)

    async with app.worker():
        await tasks.publish(1)
        assert await asyncio.to_thread(running.wait, 30)
        await blocking.publish(1)
        dead = app.queue("dead")
        while not (letters := await dead.peek()):
            await asyncio.sleep(0.005)
    assert interrupted == [True], "while the loop was blocked"
    assert "ran longer than handler_timeout (50ms)" in str(letters[0].headers["x_last_error"])
    assert "it blocks the event loop, and cannot be interrupted" in caplog.text
