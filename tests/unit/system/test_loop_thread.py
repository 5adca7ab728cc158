"""A thread with an event loop: start, cancel, stop, fork, a loop that fails; once for drivers, app, keeper and Lua."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator

import pytest

from tasuki.system import loop_thread
from tasuki.system.loop_thread import LoopThread, new_event_loop
from tasuki.system.threads import problems

pytestmark = pytest.mark.anyio

NAME = "tasuki loop test"


class Refused(Exception):
    def __init__(self, problem: str, is_begun: bool) -> None:
        super().__init__(problem)
        self.is_begun = is_begun


class Ends:
    """Notes what the thread runs at its beginnings and ends."""

    def __init__(self) -> None:
        self.noted: list[str] = []
        self.thread = LoopThread(NAME, Refused, begin_again=self.begin_again, let_go=self.let_go)

    async def begin_again(self) -> None:
        self.noted.append("begin again")

    async def let_go(self) -> None:
        self.noted.append("let go")


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.thread.stop()
    made.thread.join()
    assert threads() == 0
    assert NAME not in problems()


def threads() -> int:
    return sum(thread.name == NAME for thread in threading.enumerate())


async def ident() -> int:
    return threading.get_ident()


def fail_loop() -> None:
    raise SystemExit("no more")


async def again(thread: LoopThread) -> int:
    """Call until the loop has begun again."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await thread.call(ident)
            except Refused:
                await asyncio.sleep(0)


def gate(thread: LoopThread) -> tuple[threading.Event, threading.Event]:
    """Block the loop: it has come to the gate; let it go on."""
    at, go = threading.Event(), threading.Event()

    def block() -> None:
        at.set()
        go.wait(30)

    thread.tell(block)
    assert at.wait(30)
    return at, go


async def test_the_first_call_starts_it_and_callers_with_and_without_a_loop_share_it(ends: Ends) -> None:
    assert threads() == 0
    first = await ends.thread.call(ident)
    assert first != threading.get_ident()
    assert await asyncio.to_thread(lambda: ends.thread.run(ident())) == first
    assert threads() == 1


async def test_a_verbs_error_is_the_callers(ends: Ends) -> None:
    async def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await ends.thread.call(fail)
    with pytest.raises(KeyError, match="mine"):
        await asyncio.to_thread(lambda: ends.thread.run(fail()))


async def test_a_cancelled_call_ends_its_verb_unless_it_is_whole_and_a_late_result_is_undone(ends: Ends) -> None:
    begun, noted = threading.Event(), list[str]()

    async def wait(result: str) -> str:
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            noted.append(f"cancelled {result}")
            raise
        return result

    task = asyncio.create_task(ends.thread.call(lambda: wait("verb")))
    assert await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    await asyncio.wait([task])
    await ends.thread.call(ident)
    assert noted == ["cancelled verb"]

    async def at_once(result: str) -> str:
        noted.append(result)
        return result

    async def undo(result: str) -> None:
        noted.append(f"undone {result}")

    noted.clear()
    _, go = gate(ends.thread)
    tasks = [
        asyncio.create_task(ends.thread.call(lambda: at_once("whole"), is_whole=True)),
        asyncio.create_task(ends.thread.call(lambda: at_once("never begun"), undo)),
        asyncio.create_task(ends.thread.call(lambda: at_once("taken"), undo, is_whole=True)),
    ]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    go.set()
    for _ in range(3):
        await ends.thread.call(ident)
    assert noted == ["whole", "taken", "undone taken"]


async def test_stop_ends_what_runs_and_refuses_what_comes(ends: Ends) -> None:
    begun = threading.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.sleep(3600)

    waiting = asyncio.create_task(ends.thread.call(wait))
    blocked = asyncio.create_task(asyncio.to_thread(lambda: ends.thread.run(wait())))
    assert await asyncio.to_thread(begun.wait, 30)
    while len(ends.thread._jobs) < 2:
        await asyncio.sleep(0)
    ends.thread.stop()
    ends.thread.stop()
    ends.thread.join()
    ends.thread.join()
    for task in (waiting, blocked):
        with pytest.raises(Refused, match="was stopped") as refused:
            await task
        assert refused.value.is_begun
    with pytest.raises(Refused, match="was stopped") as refused:
        await ends.thread.call(ident)
    assert not refused.value.is_begun
    assert not ends.thread.tell(threading.get_ident)
    assert ends.noted == ["let go"]


async def test_a_second_stop_leaves_what_runs_last_alone() -> None:
    begun, stopped, go, ended = (threading.Event() for _ in range(4))

    async def let_go() -> None:
        begun.set()
        await asyncio.to_thread(go.wait, 30)
        ended.set()

    thread = LoopThread(NAME, Refused, let_go=let_go)
    await thread.call(ident)
    thread.stop()
    assert await asyncio.to_thread(begun.wait, 30)
    thread.stop()
    thread.tell(stopped.set)
    assert await asyncio.to_thread(stopped.wait, 30)
    go.set()
    thread.join()
    assert ended.is_set()
    assert NAME not in problems()


async def test_a_stop_before_its_loop_answers_what_it_never_begins(monkeypatch: pytest.MonkeyPatch, ends: Ends) -> None:
    new, go = new_event_loop, threading.Event()

    def late() -> asyncio.AbstractEventLoop:
        go.wait(30)
        return new()

    monkeypatch.setattr(loop_thread, "new_event_loop", late)
    call = asyncio.create_task(ends.thread.call(ident))
    await asyncio.sleep(0)
    ends.thread.stop()
    with pytest.raises(Refused, match="was stopped") as refused:
        await call
    assert not refused.value.is_begun
    go.set()


async def test_a_whole_verb_is_carried_out_whose_caller_left_before_there_was_a_loop(
    monkeypatch: pytest.MonkeyPatch, ends: Ends
) -> None:
    new, go, done = new_event_loop, threading.Event(), threading.Event()

    def late() -> asyncio.AbstractEventLoop:
        go.wait(30)
        return new()

    async def verb() -> None:
        done.set()

    monkeypatch.setattr(loop_thread, "new_event_loop", late)
    call = asyncio.create_task(ends.thread.call(verb, is_whole=True))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    go.set()
    assert await asyncio.to_thread(done.wait, 30)


def test_a_stop_of_one_that_never_began_is_nothing(ends: Ends) -> None:
    ends.thread.stop()
    ends.thread.join()
    assert ends.noted == []


async def test_close_runs_the_last_work_once_and_raises_what_it_raises() -> None:
    made, ran = Ends(), list[str]()

    async def last() -> None:
        ran.append("last")
        raise KeyError("does not close")

    await made.thread.call(ident)
    with pytest.raises(KeyError, match="does not close"):
        await made.thread.close(last)
    await made.thread.close(last)
    assert (ran, made.noted, threads()) == (["last"], ["let go"], 0)
    never = Ends()
    await never.thread.close(last)
    assert ran == ["last"], "what was never begun has nothing to close"


async def test_a_loop_that_fails_answers_all_is_known_and_begins_again(ends: Ends) -> None:
    begun = threading.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.sleep(3600)

    calls = [
        asyncio.create_task(ends.thread.call(wait)),
        asyncio.create_task(asyncio.to_thread(lambda: ends.thread.run(wait()))),
    ]
    assert await asyncio.to_thread(begun.wait, 30)
    while len(ends.thread._jobs) < 2:
        await asyncio.sleep(0)
    before = ends.thread._loop
    ends.thread.tell(fail_loop)
    for call in calls:
        with pytest.raises(Refused, match=f"thread '{NAME}' failed and begins again: SystemExit: no more") as failed:
            await call
        assert failed.value.is_begun
        assert isinstance(failed.value.__cause__, SystemExit)
    with pytest.raises(Refused, match="begins again") as refused:
        await ends.thread.call(ident)
    assert not refused.value.is_begun
    await again(ends.thread)
    assert ends.noted == ["let go", "begin again"]
    assert ends.thread._loop is not before
    assert ends.thread.failure is None


async def test_a_thread_that_cannot_begin_again_refuses_until_it_can(ends: Ends) -> None:
    left = [OSError("no files"), OSError("no files")]

    async def begin_again() -> None:
        if left:
            raise left.pop()

    ends.thread._begin_again = begin_again
    await ends.thread.call(ident)
    ends.thread.tell(fail_loop)
    while "no files" not in problems().get(NAME, ""):
        await asyncio.sleep(0)
    with pytest.raises(Refused, match="no files"):
        await ends.thread.call(ident)
    await again(ends.thread)
    assert left == []


async def test_while_files_are_short_calls_fail_and_the_thread_tries_again(
    monkeypatch: pytest.MonkeyPatch, ends: Ends
) -> None:
    new, left = new_event_loop, [1]

    def short() -> asyncio.AbstractEventLoop:
        if left:
            left.pop()
            raise OSError(24, "Too many open files")
        return new()

    monkeypatch.setattr(loop_thread, "new_event_loop", short)
    with pytest.raises(Refused, match="Too many open files"):
        await ends.thread.call(ident)
    await again(ends.thread)


async def test_while_threads_are_short_calls_are_refused_and_the_next_one_tries_again(
    monkeypatch: pytest.MonkeyPatch, ends: Ends
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(Refused, match=f"cannot start thread '{NAME}': can't start new thread") as refused:
            await ends.thread.call(ident)
        assert not refused.value.is_begun
    assert await ends.thread.call(ident)


async def test_its_own_work_runs_until_the_stop_and_the_loop_fails_with_it() -> None:
    rounds, ended = list[int](), threading.Event()

    async def work() -> None:
        rounds.append(1)
        if len(rounds) == 1:
            raise KeyError("a defect")
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    thread = LoopThread(NAME, Refused, work=work)
    thread.start()
    thread.start()
    while len(rounds) < 2:
        await asyncio.sleep(0)
    thread.stop()
    thread.join()
    assert ended.is_set()
    assert rounds == [1, 1]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_in_a_forked_child_it_refuses_and_leaves_the_parents_thread_alone(ends: Ends) -> None:
    await ends.thread.call(ident)
    ends.thread._lock.acquire()  # as another thread may hold it at the fork
    pid = os.fork()
    if not pid:
        code = 1
        try:
            ends.thread.stop()
            ends.thread.join()
            ends.thread.tell(fail_loop)
            ends.thread.run(ident())
        except Refused as error:
            code = 0 if "parent process" in str(error) else 2
        finally:
            os._exit(code)
    ends.thread._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert await ends.thread.call(ident)
