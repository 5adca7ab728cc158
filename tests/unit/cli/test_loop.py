"""The loop of a command: Ctrl-C, remaining tasks, and how the process ends."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading

import pytest

from tasuki.cli import loop
from tasuki.cli.loop import Descriptors
from tasuki.system import signals


@pytest.fixture(autouse=True)
def left(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(loop, "GRACE", 0.05)
    monkeypatch.setattr(loop, "_stuck", [])
    return codes


@pytest.mark.parametrize("fast", [False, True])
def test_the_result(fast: bool) -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert loop.run(work(), fast=fast) == 7


def test_uvloop_is_not_required(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> str:
        return type(asyncio.get_running_loop()).__module__

    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop.run(work(), fast=True).startswith("asyncio")


def test_ctrl_c_cancels(left: list[int]) -> None:
    async def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        loop.run(work())
    assert left == []


def test_ctrl_c_twice_leaves(left: list[int]) -> None:
    async def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(60)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            while not left:
                await asyncio.sleep(0.001)

    with pytest.raises(KeyboardInterrupt):
        loop.run(work())
    assert left == [130]


def test_tasks_that_are_left_are_cancelled(left: list[int]) -> None:
    ended = []

    async def background() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    async def work() -> asyncio.Task[None]:
        task = asyncio.create_task(background())
        await asyncio.sleep(0)
        return task

    loop.run(work())
    assert ended == [True]
    loop.leave_if_stuck(3)
    assert left == []


def test_a_thread_that_hangs_does_not_keep_the_process(left: list[int]) -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="hanging")

    async def work() -> None:
        thread.start()

    try:
        loop.run(work())
        loop.leave_if_stuck(5)
        assert left == [5]
    finally:
        release.set()
        thread.join()


def test_in_a_thread_there_are_no_signals() -> None:
    results = []

    async def work() -> int:
        return 1

    thread = threading.Thread(target=lambda: results.append(loop.run(work())))
    thread.start()
    thread.join()
    assert results == [1]


def test_leaving_flushes_what_it_can(left: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Broken())
    signals.leave(1)
    assert left == [1]


def test_what_a_left_task_raises_is_nobodys_business(left: list[int], caplog: pytest.LogCaptureFixture) -> None:
    async def background() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ValueError("late") from None

    async def work() -> None:
        asyncio.create_task(background())  # noqa: RUF006 - left behind on purpose
        await asyncio.sleep(0)

    loop.run(work())
    gc.collect()
    assert caplog.text == ""


def test_a_loop_that_stops_has_not_lost_its_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop closes the sockets for its signals then."""
    lost: list[list[int]] = []

    class Watched(Descriptors):
        def stop(self) -> None:
            if not self._ended.is_set():
                lost.append(self.lost())
            super().stop()

    monkeypatch.setattr(loop, "Descriptors", Watched)
    loop.run(asyncio.sleep(0), fast=True)
    assert lost == [[]]


def test_a_loop_that_is_ended_by_an_error_is_watched_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Descriptors] = []

    class Watched(Descriptors):
        def watch(self) -> None:
            super().watch()
            made.append(self)

    async def work() -> None:
        asyncio.get_running_loop().call_soon(exit)
        await asyncio.sleep(60.0)

    monkeypatch.setattr(loop, "Descriptors", Watched)
    with pytest.raises(SystemExit):
        loop.run(work(), fast=True)
    assert not made[0]._thread.is_alive()
