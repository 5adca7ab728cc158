"""The pool of threads of plain functions: how many there are, and what ends them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest

from tasuki import App
from tasuki.handlers import thread_pool
from tasuki.handlers.thread_pool import more_threads
from tasuki.handlers.threads import Threads
from tests.support.least import Least

pytestmark = pytest.mark.anyio

CALLS = 108
"""Of a message whose handler is a plain function, in all threads, on 3.11; it takes 86, or 102 on a machine with much
other work, where fewer ends share a wake-up; a coroutine 26."""


def threads_of(name: str) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith(name)]


@pytest.mark.parametrize(
    ("waiting", "ended", "threads", "size", "more"),
    [
        (0, 0, 1, 10, 0),
        (9, 1_000, 1, 10, 0),  # 10 µs each: one thread is enough
        (1_100, 1_000, 1, 100, 3),  # it does not catch up
        (9, 10, 1, 10, 3),  # 1 ms each, as a query of a database: nine would wait for one
        (6, 80, 4, 10, 6),  # 0.5 ms each
        (6, 210, 4, 10, 0),
        (1, 0, 1, 10, 1),
        (99, 0, 90, 100, 10),
    ],
)
def test_others_start_where_calls_wait_that_take_long_or_are_many(
    waiting: int, ended: int, threads: int, size: int, more: int
) -> None:
    assert more_threads(waiting, ended, threads, size) == more


async def test_short_functions_take_one_thread_however_many_may_run() -> None:
    pool = Threads("short", 100)
    for _ in range(20):
        assert await asyncio.gather(*(pool.run(lambda number: number, each) for each in range(100))) == list(range(100))
    assert len(threads_of("short")) < 10
    pool.close()


async def test_functions_that_wait_get_a_thread_each() -> None:
    pool, all_here = Threads("waiting", 20), threading.Barrier(20, timeout=60)
    await asyncio.gather(*(pool.run(all_here.wait) for _ in range(20)))
    assert len(threads_of("waiting")) == 20
    pool.close()


async def test_one_that_blocks_holds_up_none_behind_it_although_the_pool_had_caught_up() -> None:
    pool, gate = Threads("behind", 2), threading.Event()
    calls = [pool.run(lambda: None), pool.run(gate.wait, 60), pool.run(gate.set)]
    assert await asyncio.gather(*calls) == [None, True, None]
    pool.close()


def test_a_loop_that_ended_early_leaves_the_pool_able_to_grow() -> None:
    pool = Threads("early", 3)

    async def once() -> None:
        await pool.run(lambda: None)

    async def together() -> list[int]:
        all_here = threading.Barrier(3, timeout=60)
        return sorted(await asyncio.gather(*(pool.run(all_here.wait) for _ in range(3))))

    asyncio.run(once())
    assert asyncio.run(together()) == [0, 1, 2]
    pool.close()


async def test_calls_that_wait_at_a_close_still_have_their_threads() -> None:
    pool, all_here = Threads("closing", 5), threading.Barrier(5, timeout=60)
    calls = [asyncio.ensure_future(pool.run(all_here.wait)) for _ in range(5)]
    await asyncio.sleep(0)
    pool.close()
    assert sorted(await asyncio.gather(*calls)) == [0, 1, 2, 3, 4]
    for thread in threads_of("closing"):
        await asyncio.to_thread(thread.join, 60)
    assert not threads_of("closing")


async def test_one_that_is_cancelled_before_it_begins_ends_at_once_and_never_runs() -> None:
    pool, gate = Threads("gate", 1), threading.Event()
    ran: list[int] = []
    first = asyncio.ensure_future(pool.run(gate.wait, 60))
    second = asyncio.ensure_future(pool.run(ran.append, 1))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert not first.done()
    gate.set()
    assert await first
    assert await pool.run(lambda: "next") == "next"
    assert ran == []
    pool.close()


async def test_a_pool_serves_one_loop_after_another() -> None:
    pool = Threads("loops", 2)

    async def work() -> Any:
        return await pool.run(lambda: "here")

    assert await work() == "here"
    assert await asyncio.to_thread(asyncio.run, work()) == "here"
    assert await work() == "here"
    pool.close()


PROGRAM = """
import asyncio, os, sys, time
from tasuki.handlers import thread_pool
from tasuki.handlers.thread_pool import more_threads
from tasuki.handlers.threads import Threads

pool = Threads("pool", 4)

def late():
    time.sleep(0.2)
    print("late", flush=True)

async def main():
    print(await pool.run(lambda: "first"), flush=True)
    if sys.argv[1] == "fork":
        if child := os.fork():
            os.waitpid(child, 0)
        else:
            loop = asyncio.new_event_loop()
            asyncio._set_running_loop(None)
            print(loop.run_until_complete(pool.run(lambda: "child")), flush=True)
            os._exit(0)
    else:
        asyncio.get_running_loop().create_task(pool.run(late))
        await asyncio.sleep(0.05)

asyncio.run(main()) if sys.argv[1] == "fork" else asyncio.new_event_loop().run_until_complete(main())
"""


@pytest.mark.parametrize(("way", "said"), [("exit", ["first", "late"]), ("fork", ["first", "child"])])
def test_a_process_ends_when_its_functions_have_and_a_child_has_its_own_threads(way: str, said: list[str]) -> None:
    program = [sys.executable, "-c", PROGRAM, way]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.stdout.split(), ended.returncode) == (said, 0), ended.stderr


async def calls_of(messages: int) -> int:
    """Of all threads, while this many messages are handled."""
    app, count = App("memory://"), 0
    queue = app.queue("jobs")

    @queue.consumer(prefetch=1000, concurrency=100)
    def handle(body: dict[str, int]) -> None: ...

    def called(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    async with app:
        await queue.publish_many([{"n": number} for number in range(messages)])
        threading.setprofile(called)
        sys.setprofile(called)
        try:
            await app.start()
            (consumer,) = app._runtime.live().consumers.values()
            while consumer.metrics.acked < messages:
                await asyncio.sleep(0.01)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return count


async def test_a_message_of_a_plain_function_costs_no_more_than_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_pool, "_PERIOD", 3600)  # a slow machine is no reason for a second thread
    least = Least(calls=CALLS)
    await calls_of(200)
    while least.is_open:
        few, many = await calls_of(200), await calls_of(1_200)
        least.add(calls=(many - few) / 1_000)
    if sys.version_info[:2] == (3, 11):
        least.check()
