"""Scripts in their own processes: killed, stuck, too large, lying, orphaned; each costs only its own messages."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tasuki.backoff import Backoff
from tasuki.errors import HandlerError, LuaError, LuaLimitError
from tasuki.handlers.lua import LuaLimits, LuaSource
from tasuki.handlers.lua.remote.isolated import IsolatedLuaHandler, LuaHost
from tasuki.handlers.lua.script import LuaScript
from tasuki.handlers.process import pool as pools
from tasuki.handlers.process import questions
from tasuki.handlers.process.pool import Pool
from tasuki.handlers.process.protocol import CALL, encode
from tasuki.handlers.process.worker import Recipe
from tasuki.testing.context import RecordingContext
from tests.faults.hostile_site import ACTS, HEAVY
from tests.support.process import wait_until
from tests.unit.handlers.lua.support import ALL, delivery

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

SOON = 30.0
"""Seconds that nothing takes unless it is broken."""
WAITS = "require('queue').publish('app:entered', body) time.sleep((body.seconds or 1000) * time.SECOND) return body"

Make = Callable[..., IsolatedLuaHandler]


def script(code: str, **limits: Any) -> LuaScript:
    source = LuaSource(f"return function(body)\n  {code}\nend", "script.lua")
    return LuaScript("app:script", source, None, ALL, {}, LuaLimits(**limits))


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes handlers that are stopped in the end."""
    async with AsyncExitStack() as stack:

        def made(code: str, *, processes: int = 1, **limits: Any) -> IsolatedLuaHandler:
            handler = IsolatedLuaHandler(script(code, **limits), processes=processes)
            stack.push_async_callback(handler.stop)
            return handler

        yield made


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def processor_time(pid: int) -> float:
    """Seconds that a process has computed; it is in /proc, in hundredths."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Context(RecordingContext):
    """Tells when something was published."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = asyncio.Event()

    async def publish(self, *args: Any, **options: Any) -> str:
        id = await super().publish(*args, **options)
        self.entered.set()
        return id


async def waiting(handler: IsolatedLuaHandler, **body: Any) -> asyncio.Task[Any]:
    """A message that has begun to wait."""
    context = Context()
    task = asyncio.create_task(handler.call([{"name": "", **body}], context))
    await asyncio.wait_for(context.entered.wait(), SOON)
    return task


async def failure(task: Any) -> HandlerError:
    with pytest.raises(HandlerError) as caught:
        await asyncio.wait_for(task, SOON)
    return caught.value


async def test_a_killed_child_fails_its_messages_and_is_replaced(make: Make) -> None:
    handler = make(WAITS, processes=2)
    await handler.start()
    first = await waiting(handler, name="first")
    [pid] = handler.processes()
    second = await waiting(handler, name="second", seconds=0.2)
    assert len(handler.processes()) == 2, "the first was busy"
    os.kill(pid, signal.SIGKILL)
    error = await failure(first)
    assert type(error) is LuaError
    assert error.retryable
    assert str(error) == "script.lua: the script's process was killed by SIGKILL (from outside, or for lack of memory)"
    assert (await second)["name"] == "second", "the other child's message is untouched"
    assert pid not in handler.processes()
    assert len(handler.processes()) == 2, "it is replaced at once"
    assert await handler.call([{"seconds": 0}], delivery()) == {"seconds": 0}


async def test_a_crash_is_told_by_its_signal(make: Make) -> None:
    handler = make(WAITS)
    await handler.start()
    task = await waiting(handler)
    os.kill(handler.processes()[0], signal.SIGSEGV)
    assert "was killed by SIGSEGV" in str(await failure(task))


async def test_children_die_with_a_killed_worker(tmp_path: Any) -> None:
    program = textwrap.dedent("""
        import asyncio, sys
        from tests.faults.test_lua_child import script
        from tests.unit.handlers.lua.support import delivery
        from tasuki.handlers.lua.remote.isolated import IsolatedLuaHandler

        async def main():
            spins = IsolatedLuaHandler(script("print('spins') while true do end"), processes=1)
            sleeps = IsolatedLuaHandler(script("time.sleep('1000s')"), processes=1)
            await spins.start()
            await sleeps.start()
            tasks = [asyncio.create_task(each.call([1], delivery())) for each in (spins, sleeps)]
            await asyncio.sleep(0.1)
            print(*spins.processes(), *sleeps.processes(), flush=True)
            await asyncio.gather(*tasks)

        asyncio.run(main())
    """)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environ) as worker:
        assert worker.stdout is not None
        pids = [int(pid) for pid in worker.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(is_alive, pids))
        worker.kill()
    wait_until(lambda: not any(map(is_alive, pids)), "the children's end")


async def test_a_cancelled_message_ends_in_its_child_too(make: Make) -> None:
    handler = make(WAITS)
    await handler.start()
    pids = handler.processes()
    task = await waiting(handler)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await handler.call([{"seconds": 0}], delivery()) == {"seconds": 0}
    assert handler.processes() == pids, "it did not cost the child"


async def test_a_cancelled_message_that_does_not_end_costs_its_child(make: Make) -> None:
    handler = make("if body == 1 then return 1 end queue.publish('app:entered', 1) while true do end", time=1000.0)
    await handler.start()
    [pid] = pids = handler.processes()
    task = await waiting(handler)
    used = processor_time(pid)
    while processor_time(pid) < used + 0.05:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, SOON)
    assert await asyncio.wait_for(handler.call([1], delivery()), SOON) == 1
    assert not set(handler.processes()) & set(pids)


@pytest.mark.parametrize(
    ("code", "limit"),
    [
        ("while true do end", "time"),
        ("local t = {} for i = 1, 1e12 do t[i] = i end", "memory"),
        ("local s = 'x' while true do s = s .. s end", "memory"),
    ],
)
async def test_the_limits_of_the_box_hold_within_the_process(make: Make, code: str, limit: str) -> None:
    handler = make(f"if body.good then return 'good' end {code}", time=0.3, memory=32 * 2**20)
    await handler.start()
    pids = handler.processes()
    error = await failure(handler.call([{}], delivery()))
    assert isinstance(error, LuaLimitError)
    assert error.limit == limit
    assert str(error).startswith("script.lua:2: ")
    assert await handler.call([{"good": True}], delivery()) == "good"
    assert handler.processes() == pids


async def test_a_body_beyond_the_memory_does_not_reach_the_child(make: Make) -> None:
    handler = make("return 1", memory=2**20)
    await handler.start()
    error = await failure(handler.call(["x" * 2**21], delivery()))
    assert isinstance(error, LuaLimitError)
    assert error.limit == "memory"


async def test_a_script_that_does_not_load_says_so_and_leaves_nothing(make: Make) -> None:
    handler = make("end end")
    assert "script.lua:2:" in str(await failure(handler.start()))
    assert handler.processes() == []
    assert "script.lua:2:" in str(await failure(handler.call([1], delivery())))


async def test_a_stopped_handler_leaves_no_process_and_starts_again(make: Make) -> None:
    handler = make(WAITS, processes=2)
    await handler.start()
    task = await waiting(handler)
    pids = handler.processes()
    await handler.stop()
    assert "script.lua: the script's process" in str(await failure(task))
    assert not any(map(is_alive, pids))
    await handler.start()
    assert await handler.call([{"seconds": 0}], delivery()) == {"seconds": 0}


@pytest.mark.filterwarnings("error")
def test_another_event_loop_has_other_children() -> None:
    handler = IsolatedLuaHandler(script("return body"), processes=1)
    assert asyncio.run(handler.call([1], delivery())) == 1
    first = handler.processes()

    async def again() -> Any:
        result = await handler.call([2], delivery())
        pids = handler.processes()
        await handler.stop()
        return result, pids

    result, second = asyncio.run(again())
    assert result == 2
    assert not set(first) & set(second)
    assert not any(map(is_alive, first))


# A child that does not run our script any more, but something of an attacker's ----------------------------------------


@pytest.fixture
async def hostile() -> AsyncIterator[Callable[..., Pool]]:
    """Makes pools whose children commit an act of hostile_site.py."""
    async with AsyncExitStack() as stack:

        def made(act: str, seconds: float = 0.3) -> Pool:
            host = LuaHost(script("", time=seconds))
            site = "tests.faults.hostile_site:HostileSite"
            pool = Pool("app:script", Recipe(site, act, host, is_closed=True, seconds=seconds), 1)
            stack.push_async_callback(pool.stop)
            return pool

        yield made


async def commit(pool: Pool, act: str = "act") -> Any:
    return await asyncio.wait_for(pool.run(CALL, encode((None, [act])), delivery()), SOON)


@pytest.mark.parametrize("act", sorted(set(ACTS) - {"spin", "lie"}))
async def test_what_a_child_sends_is_not_believed(
    hostile: Callable[..., Pool], act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "MOST_UNSENT", 2**20)
    pool = hostile(act)
    await pool.start()
    pids = pool.pids()
    with pytest.raises(LuaError, match=r"script\.lua: the script's process was killed: it sent ") as caught:
        await commit(pool)
    assert len(str(caught.value)) < 500
    wait_until(lambda: not any(map(is_alive, pids)), "the liar's end")
    assert await commit(pool, "good") == "good", "it is replaced"


async def test_a_child_that_dies_right_after_its_start_is_replaced_with_growing_pauses(
    hostile: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "BACKOFF", Backoff(initial_delay=0.01, max_delay=0.04, jitter=0.0))
    pool = hostile("leave")
    pauses: list[tuple[float, int]] = []
    fourth = asyncio.Event()

    def note(record: logging.LogRecord) -> bool:
        if "before its first message" in record.msg:
            pauses.append((record.args[1], len(pool.pids())))  # type: ignore[index, arg-type]
            fourth.set() if len(pauses) == 4 else None
        return True

    logger = logging.getLogger("tasuki.handlers.process")
    logger.addFilter(note)
    try:
        await pool.start()
        await asyncio.wait_for(fourth.wait(), SOON)
    finally:
        logger.removeFilter(note)
    assert pauses[:4] == [(0.01, 0), (0.02, 0), (0.04, 0), (0.04, 0)]


async def test_a_stop_in_such_a_pause_starts_no_child(
    hostile: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "BACKOFF", Backoff(initial_delay=3600.0, max_delay=3600.0, jitter=0.0))
    pool = hostile("leave")
    await pool.start()
    while pool.pids() or pool._pause is None:
        await asyncio.sleep(0.01)
    running = asyncio.create_task(pool.run(CALL, encode((None, ["act"])), delivery()))
    await asyncio.sleep(0)  # it waits for the end of the pause
    await pool.stop()
    with pytest.raises(HandlerError, match="was stopped while a message waited"):
        await asyncio.wait_for(running, SOON)
    assert not pool.pids()


@pytest.mark.parametrize("act", sorted(HEAVY))
async def test_what_a_child_asks_for_all_at_once_is_bounded(
    hostile: Callable[..., Pool], act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 8 * 2**20
    monkeypatch.setattr(questions, "MOST_BYTES", most)
    context, end, taken = delivery(), asyncio.Event(), 0

    async def slow(value: Any) -> None:
        """Keeps the value, also when it is cancelled."""
        nonlocal taken
        taken += len(value)
        while not end.is_set():
            with suppress(asyncio.CancelledError):
                await end.wait()

    context.functions["app:slow"] = slow
    pool = hostile(act)
    await pool.start()
    try:
        with pytest.raises(
            LuaError, match=r"killed: it sent questions of \d+ bytes before the first ones are answered"
        ):
            await asyncio.wait_for(pool.run(CALL, encode((None, ["act"])), context), SOON)
        assert 2**19 <= taken <= most
    finally:
        end.set()
    assert await commit(pool, "good") == "good", "it is replaced"


@pytest.mark.parametrize("act", ["spin", "lie"])
async def test_a_child_that_computes_beyond_its_limit_is_killed_and_replaced(
    hostile: Callable[..., Pool], act: str
) -> None:
    pool = hostile(act)
    await pool.start()
    pids = pool.pids()
    with pytest.raises(LuaLimitError, match="longer than its 300ms, and its process was killed"):
        await commit(pool)
    wait_until(lambda: not any(map(is_alive, pids)), "its end")
    assert await commit(pool, "good") == "good"


async def test_what_a_child_can_do(hostile: Callable[..., Pool]) -> None:
    pool = hostile("good")
    await pool.start()
    told = await commit(pool, "look around")
    assert told["environment"] in ([], ["LC_CTYPE"]), "what the interpreter itself sets"
    assert told["folder"] == "/"
    assert told["descriptors"] <= 8, "standard streams, the socket, and its event loop's own"
    assert told["limits"] == {"RLIMIT_NOFILE": 16, "RLIMIT_NPROC": 0, "RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0}
    assert told["write"] == "OSError"
    assert told["memory"] == "MemoryError"
    if sys.platform == "linux":
        assert told["no_new_privs"] == "1"
