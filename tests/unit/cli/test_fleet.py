"""The processes of ``run --processes``: restarts, signals, exit codes; small programs are the workers."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasuki.backoff import Backoff
from tasuki.cli.exits import RECYCLED
from tasuki.cli.worker import fleet
from tasuki.cli.worker.fleet import Fleet, child_arguments, follow_parent
from tasuki.supervisor.children.asking import QUESTION, SilenceLimits

pytestmark = pytest.mark.anyio

QUICK = Backoff(initial_delay=0.01, max_delay=0.01)


def program(source: str) -> Callable[[int], list[str]]:
    return lambda lifeline: [sys.executable, "-S", "-c", source, str(lifeline)]


async def run(source: str, count: int = 2, *, ends_when_done: bool = False) -> int:
    async with asyncio.timeout(30):
        return await Fleet(program(source), count, ends_when_done=ends_when_done, backoff=QUICK).run()


def worker(folder: Path, on_term: str) -> str:
    """A program that says it is ready, waits for TERM, and then does something."""
    return f"""
import os, pathlib, signal
def end(*_):
    {on_term}
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGHUP, lambda *_: pathlib.Path({str(folder)!r}, f"hup-{{os.getpid()}}").touch())
signal.pthread_sigmask(signal.SIG_UNBLOCK, {{signal.SIGHUP}})  # held back until it is handled
pathlib.Path({str(folder)!r}, f"ready-{{os.getpid()}}").touch()
while True:
    signal.pause()
"""


async def appear(folder: Path, pattern: str, count: int) -> list[Path]:
    async with asyncio.timeout(30):
        while len(found := sorted(folder.glob(pattern))) < count:
            await asyncio.sleep(0.01)
    return found


async def test_all_done() -> None:
    assert await run("", ends_when_done=True) == 0


async def test_what_starting_again_does_not_mend_ends_all(tmp_path: Path) -> None:
    # The first to come exits with 3, the other waits until it is stopped.
    source = worker(tmp_path, "os._exit(0)").replace(
        "import os,",
        f"import os\ntry: os.mkdir({str(tmp_path / 'first')!r})\nexcept OSError: pass\nelse: os._exit(3)\nimport os,",
    )
    assert await run(source) == 3


async def test_a_dead_one_starts_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tasuki.processes")
    source = f"""
import os, signal
for number in range(3):
    try: os.mkdir(os.path.join({str(tmp_path)!r}, str(number)))
    except OSError: continue
    os.kill(os.getpid(), signal.SIGKILL) if number else os._exit(1)
"""
    assert await run(source, 1, ends_when_done=True) == 0
    ends = [line.partition("ended with ")[2].partition(";")[0] for line in caplog.messages if "starts again" in line]
    assert ends == ["exit code 1", "exit code 137", "exit code 137"]


async def test_one_that_has_reached_a_limit_is_replaced_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = f"""
import os
for number in range(3):
    try: os.mkdir(os.path.join({str(tmp_path)!r}, str(number)))
    except OSError: continue
    os._exit({RECYCLED})
"""
    never = Backoff(initial_delay=3600, max_delay=3600)
    async with asyncio.timeout(30):
        assert await Fleet(program(source), 1, ends_when_done=True, backoff=never).run() == 0
    assert len(list(tmp_path.iterdir())) == 3
    assert "ended with exit code" not in caplog.text


async def test_a_stop_reaches_all_and_the_worst_code_is_told(tmp_path: Path) -> None:
    first = "os._exit(5 if pathlib.Path(%r).exists() else pathlib.Path(%r).touch() or 0)"
    late = str(tmp_path / "late")
    running = asyncio.create_task(run(worker(tmp_path, first % (late, late))))
    await appear(tmp_path, "ready-*", 2)
    os.kill(os.getpid(), signal.SIGHUP)
    await appear(tmp_path, "hup-*", 2)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running in {0, 5}  # 0: both looked before one of them touched


async def test_a_second_signal_is_told_too(tmp_path: Path) -> None:
    path = str(tmp_path)
    running = asyncio.create_task(
        run(
            worker(
                tmp_path,
                f"signal.signal(signal.SIGINT, end); term = pathlib.Path({path!r}, 'term'); "
                "term.exists() and os._exit(143); term.touch()",
            ),
            1,
        )
    )
    await appear(tmp_path, "ready-*", 1)
    os.kill(os.getpid(), signal.SIGTERM)
    await appear(tmp_path, "term", 1)
    os.kill(os.getpid(), signal.SIGINT)
    assert await running == 143


async def test_a_doubled_signal_reaches_the_processes_once(tmp_path: Path) -> None:
    terms = f"pathlib.Path({str(tmp_path)!r}, 'term').open('a').write('x'); os.read(0, 1); time.sleep(0.2); os._exit(0)"
    source = worker(tmp_path, terms).replace("import os,", "import time, os,")
    running = asyncio.create_task(run(source, 1))
    await appear(tmp_path, "ready-*", 1)
    os.kill(os.getpid(), signal.SIGTERM)
    await appear(tmp_path, "term", 1)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0
    assert (tmp_path / "term").read_text() == "x"


async def test_one_that_was_still_starting_when_stopped_is_no_failure() -> None:
    running = asyncio.create_task(run("import signal; signal.pause()", 1))
    for _ in range(10):
        await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0


async def test_a_stop_between_two_starts(tmp_path: Path) -> None:
    slow = Backoff(initial_delay=600, max_delay=600)
    fleet = Fleet(program(f"open({str(tmp_path / 'ran')!r}, 'w'); raise SystemExit(1)"), 1, backoff=slow)
    running = asyncio.create_task(fleet.run())
    await appear(tmp_path, "ran", 1)
    await asyncio.sleep(0.1)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(30):
        assert await running in {0, 1}


def test_a_child_is_told_what_its_parent_was() -> None:
    options = {
        "--lifeline": 7,
        "--log-level": "debug",
        "--log-format": "text",
        "--reload": True,
        "--until-empty": True,
        "--health-file": None,
        "--except": (),
        "--override": ("app:x:y=1",),
    }
    arguments = child_arguments(["--", "shop"], options)
    assert arguments[arguments.index("run") :] == [
        "run",
        "--lifeline=7",
        "--log-level=debug",
        "--log-format=text",
        "--reload",
        "--until-empty",
        "--override=app:x:y=1",
        "--",
        "shop",
    ]


@pytest.fixture
def terminated() -> Iterator[list[int]]:
    numbers: list[int] = []
    old = signal.signal(signal.SIGTERM, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, old)


async def test_the_end_of_the_parent_is_a_term(terminated: list[int]) -> None:
    ours, childs = socket.socketpair()
    follow_parent(childs.detach())
    ours.close()
    async with asyncio.timeout(30):
        while not terminated:
            await asyncio.sleep(0.01)
    assert terminated == [signal.SIGTERM]


ANSWERING = """
import os, pathlib, signal, sys
sys.path[:0] = {path!r}
from tasuki.cli.worker.fleet import follow_parent
parent = follow_parent(int(sys.argv[1]))
parent.answers["pid"] = os.getpid
def end(*_):
    parent.report("pid")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {{signal.SIGHUP}})
pathlib.Path({folder!r}, f"ready-{{os.getpid()}}").touch()
while True:
    signal.pause()
"""


async def test_the_parent_asks_its_processes(tmp_path: Path) -> None:
    told: list[int] = []
    ended: list[int] = []
    fleet = Fleet(program(ANSWERING.format(path=sys.path, folder=str(tmp_path))), 2, backoff=QUICK)
    fleet.children.on_answer = lambda number, name, value: told.append(value)
    fleet.children.on_end = ended.append
    running = asyncio.create_task(fleet.run())
    pids = [int(path.name.partition("-")[2]) for path in await appear(tmp_path, "ready-*", 2)]
    answers = await fleet.children.ask("pid", timeout=30)
    assert sorted(answers) == [1, 2]
    assert {answer.value for answer in answers.values()} == set(pids)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0
    assert sorted(told) == sorted(pids * 2), "each reported it once more at its end"
    assert sorted(ended) == [1, 2]


PROMISING = """
import os, pathlib, signal, sys
sys.path[:0] = {path!r}
from tasuki.cli.worker.fleet import follow_parent
folder = pathlib.Path({folder!r})
parent = follow_parent(int(sys.argv[1]))
parent.answers["stop_timeout"] = lambda: {promise}
def end(*_):
    (folder / f"ended-{{os.getpid()}}").touch()
    os._exit(0)
signal.signal(signal.SIGTERM, end)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {{signal.SIGHUP}})
(folder / f"{{os.getpid()}}.ready").touch()
while True:
    signal.pause()
"""
QUICK_LOOK = SilenceLimits(silent=2.0, busy=600.0, look=0.05)


def promising(folder: Path, promise: str = "0.0") -> Callable[[int], list[str]]:
    return program(PROMISING.format(path=sys.path, folder=str(folder), promise=promise))


def pid_of(path: Path) -> int:
    return int(path.name.removesuffix(".ready"))


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not what():
            await asyncio.sleep(0.01)


async def test_a_frozen_process_is_killed_after_the_time_that_it_promised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    promise = f"pathlib.Path({str(tmp_path)!r}, f'short-{{os.getpid()}}').exists() and 0.01 or 600.0"
    fleet = Fleet(promising(tmp_path, promise), 2, backoff=QUICK, stop_timeout=0.0, spare=0.01)
    running = asyncio.create_task(fleet.run())
    frozen, healthy = map(pid_of, await appear(tmp_path, "*.ready", 2))
    (tmp_path / f"short-{frozen}").touch()
    await fleet.children.ask(QUESTION, timeout=30)
    assert sorted(fleet.children.last(number, QUESTION) for number in (1, 2)) == [0.01, 600.0]
    os.kill(frozen, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(30):
        assert await running == 128 + signal.SIGKILL
    assert is_gone(frozen)
    assert (tmp_path / f"ended-{healthy}").exists(), "it had its own, longer time"
    assert f"(pid {frozen}) is killed: it has not stopped within its stop_timeout" in caplog.text


async def test_a_second_signal_leaves_a_frozen_process_no_time(tmp_path: Path) -> None:
    fleet = Fleet(promising(tmp_path), 1, backoff=QUICK, stop_timeout=3600.0, spare=0.01)
    running = asyncio.create_task(fleet.run())
    [frozen] = map(pid_of, await appear(tmp_path, "*.ready", 1))
    os.kill(frozen, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    async with asyncio.timeout(30):
        assert await running == 128 + signal.SIGKILL
    assert is_gone(frozen)


async def test_a_process_that_is_silent_for_long_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fleet = Fleet(promising(tmp_path), 1, backoff=QUICK, stop_timeout=600.0, limits=QUICK_LOOK)
    running = asyncio.create_task(fleet.run())
    [frozen] = map(pid_of, await appear(tmp_path, "*.ready", 1))
    await until(lambda: fleet.children.last(1, QUESTION) is not None)
    os.kill(frozen, signal.SIGSTOP)
    await appear(tmp_path, "*.ready", 2)
    assert is_gone(frozen)
    assert f"(pid {frozen}) is killed: it has given no sign of life for" in caplog.text
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0


async def test_a_process_that_computes_in_c_code_is_not_frozen(tmp_path: Path) -> None:
    """It keeps Python's lock for longer than another one may be silent, and answers nothing meanwhile."""
    limits = QUICK_LOOK._replace(silent=1.0)
    end = f"""
    from time import process_time
    used = process_time()
    sum(range(10**7))
    sum(range(int(10**7 * {2 * limits.silent} / (process_time() - used))))  # all of it in C
    (folder / "computed").touch()
    os._exit(0)
"""
    start, _, rest = PROMISING.partition('    (folder / f"ended')
    source = (start + end.lstrip("\n") + rest[rest.index("signal.signal") :]).format(
        path=sys.path, folder=str(tmp_path), promise="600.0"
    )
    fleet = Fleet(program(source), 1, backoff=QUICK, stop_timeout=600.0, limits=limits)
    running = asyncio.create_task(fleet.run())
    await appear(tmp_path, "*.ready", 1)
    await until(lambda: fleet.children.last(1, QUESTION) is not None)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(60):
        assert await running == 0
    assert (tmp_path / "computed").exists()


class Unkillable:
    """A process that waits for a stuck disk: KILL is pending, and its end is not seen. No test can make a real one."""

    pid, returncode = 4711, None

    async def wait(self) -> int:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


async def test_a_process_that_even_kill_does_not_end_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fleet, "GONE", 0.01)
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *signal_of: sent.append(signal_of))
    process: Any = Unkillable()
    stuck = fleet.Child(1, process)
    stuck.kill_in(600.0, "it has time")
    stuck.kill_in(0.0, "it has none")
    stuck.kill_in(0.0, "it has none")
    async with asyncio.timeout(30):
        assert await stuck.ended() == 128 + signal.SIGKILL
    assert sent == [(4711, signal.SIGKILL)]
    assert "(pid 4711) is killed: it has none" in caplog.text
    assert "does not end after KILL" in caplog.text


async def test_signals_to_a_process_that_just_ended_keep_its_exit_code() -> None:
    for number in range(30):
        process = await asyncio.create_subprocess_exec("sleep", "600")
        started = fleet.Child(number, process)
        started.send(signal.SIGKILL)
        for _ in range(2_000):  # it ends meanwhile; the loop does not know that yet
            if not Path(f"/proc/{process.pid}").exists():  # from Python 3.12 on it stays until the loop asks
                break
            started.send(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await started.ended() == 128 + signal.SIGKILL


async def test_a_start_that_the_system_refuses_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begin, refused = asyncio.create_subprocess_exec, iter([BlockingIOError(11, "Resource temporarily unavailable")])

    async def start(*arguments: Any, **options: Any) -> Any:
        if (error := next(refused, None)) is not None:
            raise error
        return await begin(*arguments, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    assert await run("", ends_when_done=True) == 0
    assert "cannot be started: [Errno 11] Resource temporarily unavailable; starts again" in caplog.text


async def test_a_stop_ends_a_fleet_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = asyncio.Event()

    async def start(*arguments: Any, **options: Any) -> Any:
        refused.set()
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    slow = Backoff(initial_delay=600, max_delay=600)
    running = asyncio.create_task(Fleet(program(""), 2, backoff=slow).run())
    await refused.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(30):
        assert await running == 0
