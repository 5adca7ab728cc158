"""The loop of workers and of Tasuki's threads: uvloop where it is installed, and the signals stay the main thread's."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasuki import App
from tasuki.system.loop_thread import LoopThread, new_event_loop


async def kind() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@pytest.fixture(params=["uvloop", "asyncio"])
def expected(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)
    else:
        pytest.importorskip("uvloop")
    return str(request.param)


@pytest.fixture
def signals() -> Iterator[None]:
    """What the process does with signals must be the same afterwards."""

    def found() -> list[object]:
        wakeup = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(wakeup)
        return [wakeup, *map(signal.getsignal, sorted(signal.valid_signals()))]

    before = found()
    yield
    assert found() == before


def test_uvloop_is_used_where_it_is_installed(expected: str) -> None:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(kind()) == expected


@pytest.mark.usefixtures("signals")
def test_calls_without_a_loop_use_it_and_leave_signals_alone(expected: str, tmp_path: Path) -> None:
    app = App("memory://", root=tmp_path)
    app.queue("tasks")
    try:
        assert app.sync.run(kind()) == expected
        came = threading.Event()
        before = signal.signal(signal.SIGUSR1, lambda *_: came.set())
        signal.raise_signal(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, before)
        assert came.is_set()
    finally:
        app.sync.close()


@pytest.mark.usefixtures("signals")
def test_the_threads_of_drivers_consumers_and_scripts_use_it_and_leave_signals_alone(expected: str) -> None:
    thread = LoopThread("loops")
    try:
        assert thread.run(kind()) == expected
    finally:
        thread.stop()
        thread.join()
