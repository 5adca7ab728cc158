"""``tasuki run`` as a process: signals, stops, reloads, several processes."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_project import lines_of, notes, write_project
from tests.support.process import Process, run, run_json, start, wait_until

pytestmark = pytest.mark.e2e

BUSY = """
import asyncio

async def handle(body, context: Context):
    note(f"start {body} attempt {context.attempt}")
    while not Path(__file__).with_name("go").exists():
        await asyncio.sleep(0.01)
    note(f"end {body}")
"""
ATTEMPTS = """
def handle(body, context: Context):
    note(f"{body} attempt {context.attempt}")
"""
HANGING = """
import asyncio

async def handle(body, context: Context):
    note("start")
    await asyncio.sleep(600)
"""
BLOCKING = """
import time

def handle(body, context: Context):
    note("start")
    time.sleep(600)
"""
CONTEXT = "from tasuki import Context\n"


def publish(folder: Path, *bodies: object) -> None:
    done = run("publish", "tasks", "--file", "-", folder=folder, stdin=lines_of(*bodies))
    assert done.returncode == 0, done.stderr


def wait_for_notes(folder: Path, count: int = 1) -> list[str]:
    return list(wait_until(lambda: len(found := notes(folder)) >= count and found, f"{count} notes"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_running_handlers_finish_and_hands_the_rest_back(tmp_path: Path, number: signal.Signals) -> None:
    project = write_project(tmp_path, CONTEXT + BUSY, prefetch=3)
    publish(project, 1, 2, 3, 4)
    with start("run", folder=project) as worker:
        wait_for_notes(project)
        wait_until(lambda: run_json("info", "tasks", folder=project)["in_flight"] == 3, "the window to fill")
        assert run_json("info", "tasks", folder=project)["consumer_count"] == 1
        worker.send(number)
        worker.wait_for("stopping")
        # Prefetched messages are back before the running handler has ended.
        info = wait_until(
            lambda: (found := run_json("info", "tasks", folder=project))["in_flight"] == 1 and found, "the release"
        )
        assert info["ready"] == 3
        (project / "go").touch()
        assert worker.wait() == 0, worker.output
    assert notes(project) == ["start 1 attempt 1", "end 1"]
    assert [message["body"] for message in run_json("peek", "tasks", folder=project)] == [2, 3, 4]
    write_project(project, CONTEXT + ATTEMPTS)
    assert run("run", "--until-empty", folder=project).returncode == 0
    assert notes(project)[2:] == ["2 attempt 1", "3 attempt 1", "4 attempt 1"]


@pytest.mark.parametrize("handler", [HANGING, BLOCKING], ids=["async", "thread"])
def test_a_late_stop_hands_the_work_back_unharmed_and_exits_with_5(tmp_path: Path, handler: str) -> None:
    project = write_project(tmp_path, CONTEXT + handler, stop_timeout="300ms")
    publish(project, 1)
    with start("run", folder=project) as worker:
        wait_for_notes(project)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 5, worker.output
    assert "stop_timeout" in worker.output
    assert "Traceback" not in worker.output
    assert run_json("info", "tasks", folder=project)["ready"] == 1
    write_project(project, CONTEXT + ATTEMPTS)
    assert run("run", "--until-empty", folder=project).returncode == 0
    assert notes(project)[1:] == ["1 attempt 1"]


@pytest.mark.parametrize(
    ("number", "second", "code"), [(signal.SIGINT, signal.SIGTERM, 143), (signal.SIGTERM, signal.SIGINT, 130)]
)
def test_a_second_signal_cancels(tmp_path: Path, number: signal.Signals, second: signal.Signals, code: int) -> None:
    project = write_project(tmp_path, CONTEXT + HANGING, stop_timeout="10m")
    publish(project, 1)
    with start("run", folder=project) as worker:
        wait_for_notes(project)
        worker.send(number)
        worker.wait_for("stopping: ")
        worker.send(second)
        assert worker.wait() == code, worker.output
    assert "Traceback" not in worker.output
    assert run_json("info", "tasks", folder=project)["ready"] == 1


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_signal_that_is_sent_twice_drains(tmp_path: Path, processes: str) -> None:
    project = write_project(tmp_path, CONTEXT + BUSY)
    publish(project, 1)
    with start("run", "--processes", processes, folder=project) as worker:
        wait_for_notes(project)
        worker.send(signal.SIGTERM)
        worker.send(signal.SIGTERM)
        worker.wait_for("stopping: ")
        worker.send(signal.SIGTERM)
        (project / "go").touch()
        assert worker.wait() == 0, worker.output
    assert notes(project) == ["start 1 attempt 1", "end 1"]


STARTING = """
import pathlib, time
pathlib.Path("importing").touch()
while not pathlib.Path("go").exists():
    time.sleep(0.01)
from tasuki import App
app = App()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_starts_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "jobs.py").write_text(STARTING)
    with start("run", "jobs:app", folder=tmp_path) as worker:
        wait_until((tmp_path / "importing").exists, "the import")
        worker.send(number)
        assert worker.wait() == 0, worker.output
    assert "Traceback" not in worker.output


SLOW_IMPORT = """
import pathlib, time
pathlib.Path("importing").touch()
while True:
    time.sleep(0.01)
"""


@pytest.mark.parametrize("module", ["click", "asyncio"])
def test_a_signal_while_the_command_itself_is_imported_ends_it_in_order(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Importing takes longer than anything else at the start."""
    (tmp_path / f"{module}.py").write_text(SLOW_IMPORT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with start("run", f"{module}:app", folder=tmp_path) as worker:
        wait_until((tmp_path / "importing").exists, "the import")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output
    assert "Traceback" not in worker.output


def test_a_process_of_several_that_has_only_just_begun_is_not_ended_by_hup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter itself has handled no signal yet; the fleet hands HUP on all the same."""
    write_project(tmp_path, "def handle(body): pass")
    (tmp_path / "sitecustomize.py").write_text(
        "import os, pathlib, sys, time\n"
        "if any(word.startswith('--lifeline') for word in sys.orig_argv):\n"
        f"    pathlib.Path({str(tmp_path)!r}, 'begun').touch()\n"
        f"    while not pathlib.Path({str(tmp_path)!r}, 'go').exists():\n"
        "        time.sleep(0.01)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with start("run", "--processes", "2", "--log-level", "info", folder=tmp_path) as fleet:
        wait_until((tmp_path / "begun").exists, "a process")
        fleet.send(signal.SIGHUP)
        (tmp_path / "go").touch()
        fleet.wait_for("running")
        fleet.send(signal.SIGTERM)
        assert fleet.wait() == 0, fleet.output
    assert "ended with" not in fleet.output


IN_CODE = """
import os
from tasuki import App

app = App()

@app.queue("tasks").consumer
async def handle(body):
    with open("notes.txt", "a") as file:
        file.write(f"WORD {body}\\n")
"""


@pytest.mark.parametrize("processes", ["1", "2"])
def test_hup_brings_the_new_code_of_an_app_in_python(tmp_path: Path, processes: str) -> None:
    module = tmp_path / "jobs.py"
    module.write_text(IN_CODE.replace("WORD", "old"))

    def handled(body: int) -> list[str]:
        done = run("publish", "tasks", str(body), "-p", "jobs:app", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        return wait_for_notes(tmp_path, body)

    with start("run", "--processes", processes, "jobs:app", folder=tmp_path) as worker:
        for _ in range(int(processes)):
            worker.wait_for("running")
        assert handled(1) == ["old 1"]
        module.write_text("broken (")
        worker.send(signal.SIGHUP)
        for _ in range(int(processes)):
            worker.wait_for("change refused")
        module.write_text(IN_CODE.replace("WORD", "new"))
        worker.send(signal.SIGHUP)
        for _ in range(int(processes)):
            worker.wait_for("restarting")
        for _ in range(int(processes)):
            worker.wait_for("running; ")
        assert handled(2)[1:] == ["new 2"]
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output


def test_hup_takes_a_changed_handler_and_refuses_a_broken_one(tmp_path: Path) -> None:
    project = write_project(tmp_path, "def handle(body): note(f'old {body}')\n")
    with start("run", folder=project) as worker:
        worker.wait_for("running")
        publish(project, 1)
        assert wait_for_notes(project) == ["old 1"]
        write_project(project, "def handle(body): note(f'new {body}')\n")
        worker.send(signal.SIGHUP)
        worker.wait_for("reloaded")
        publish(project, 2)
        assert wait_for_notes(project, 2)[1:] == ["new 2"]
        write_project(project, "def handle(body: note(f'broken {body}')\n")
        worker.send(signal.SIGHUP)
        worker.wait_for("reload refused")
        with (project / "_index.yaml").open("a") as file:
            file.write("  - {name: x, kind: queue.qeue}\n")
        worker.send(signal.SIGHUP)
        worker.wait_for("queue.qeue")
        write_project(project, "")
        publish(project, 3)
        assert wait_for_notes(project, 3)[2:] == ["new 3"]
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0


PIDS = """
import os

async def handle(body):
    note(str(os.getpid()))
    while not Path(__file__).with_name("go").exists():
        await asyncio.sleep(0.01)

import asyncio
"""


def test_two_processes_share_the_work_and_a_dead_one_comes_back(tmp_path: Path) -> None:
    project = write_project(tmp_path, PIDS, prefetch=1)
    publish(project, 1, 2)
    with start("run", "--processes", "2", folder=project) as fleet:
        first, second = wait_for_notes(project, 2)
        assert first != second
        os.kill(int(first), signal.SIGKILL)
        fleet.wait_for("starts again")
        # The message of the dead process comes to one that lives, within the lease.
        third = wait_for_notes(project, 3)[2]
        assert third != first
        (project / "go").touch()
        wait_until(lambda: run_json("info", "tasks", folder=project)["message_count"] == 0, "the end of the work")
        fleet.send(signal.SIGTERM)
        assert fleet.wait() == 0, fleet.output


def test_a_frozen_process_does_not_keep_the_others_from_their_stop(tmp_path: Path) -> None:
    project = write_project(tmp_path, PIDS, prefetch=1, stop_timeout="0s")
    publish(project, 1, 2)
    with start("run", "--processes", "2", folder=project) as fleet:
        frozen, healthy = map(int, wait_for_notes(project, 2))
        os.kill(frozen, signal.SIGSTOP)
        fleet.send(signal.SIGTERM)
        wait_until(lambda: not is_alive(healthy), "the end of the healthy one")
        fleet.send(signal.SIGINT)
        assert fleet.wait() == 128 + signal.SIGKILL, fleet.output
        assert f"(pid {frozen}) is killed" in fleet.output
        assert not is_alive(frozen)
    assert run_json("info", "tasks", folder=project)["message_count"] == 2


def test_processes_run_until_empty(tmp_path: Path) -> None:
    project = write_project(tmp_path, "import os\ndef handle(body):\n    note(str(body))\n")
    publish(project, *range(200))
    run_json("publish", "tasks", "200", "--delay", "1s", folder=project)
    done = run("run", "--processes", "2", "--until-empty", folder=project)
    assert done.returncode == 0, done.stderr
    assert sorted(map(int, notes(project))) == list(range(201))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_processes_do_not_outlive_their_parent(tmp_path: Path) -> None:
    project = write_project(tmp_path, PIDS, prefetch=1)
    publish(project, 1, 2)
    with start("run", "--processes", "2", folder=project) as fleet:
        pids = [int(note) for note in wait_for_notes(project, 2)]
        fleet.send(signal.SIGKILL)
        (project / "go").touch()
        wait_until(lambda: not any(map(is_alive, pids)), "the end of the children")
    assert run_json("info", "tasks", folder=project)["message_count"] == 0


def change(path: Path, text: str, worker: Process, answer: str) -> None:
    path.write_text(text)
    worker.wait_for(answer)


def test_reload_follows_the_files(tmp_path: Path) -> None:
    handlers = "from sibling import WORD\ndef handle(body): note(f'{WORD} {body}')\n"
    (tmp_path / "sibling.py").write_text("WORD = 'one'\n")
    project = write_project(tmp_path, handlers)
    with start("run", "--reload", folder=project) as worker:
        worker.wait_for("running")
        publish(project, 1)
        assert wait_for_notes(project) == ["one 1"]
        write_project(project, handlers.replace("{WORD}", "{WORD}!"))
        worker.wait_for("reloaded")
        publish(project, 2)
        assert wait_for_notes(project, 2)[1:] == ["one! 2"]
        change(project / "sibling.py", "WORD = \n", worker, "change refused")
        change(project / "sibling.py", "WORD = 'two'\n", worker, "restarting")
        worker.wait_for("running")
        publish(project, 3)
        assert wait_for_notes(project, 3)[2:] == ["two! 3"]
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output


def test_the_health_file_is_there_as_soon_as_it_runs(tmp_path: Path) -> None:
    project = write_project(tmp_path, CONTEXT + ATTEMPTS)
    with start("run", "--health-file", "alive", folder=project) as worker:
        worker.wait_for("running")
        assert (project / "alive").exists()
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output
    bad = run("run", "--health-file", "nowhere/alive", folder=project)
    assert (bad.returncode, "--health-file" in bad.stderr) == (1, True)


def processes_in(health_file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(health_file.read_text())["processes"]
    return found


def are_ready(health_file: Path) -> dict[str, bool]:
    return {number: process["ready"] for number, process in processes_in(health_file).items()}


def test_the_health_of_several_processes(tmp_path: Path) -> None:
    project = write_project(tmp_path, CONTEXT + ATTEMPTS)
    assert run("health", "alive", folder=project).returncode == 1
    with start("run", "--processes", "2", "--health-file", "alive", folder=project) as fleet:
        wait_until(lambda: run("health", "alive", "--ready", folder=project).returncode == 0, "both to be ready")
        wait_until(lambda: are_ready(project / "alive") == {"1": True, "2": True}, "half of them are enough: both")
        stopped = processes_in(project / "alive")["2"]["pid"]
        os.kill(stopped, signal.SIGSTOP)
        try:
            wait_until(lambda: run("health", "alive", folder=project).returncode == 1, "the silent one to be noticed")
            why = run("health", "alive", folder=project).stderr
            assert why.startswith("process 2: no sign of life for 1"), why
        finally:
            with suppress(ProcessLookupError):  # a busy machine took 30 s to see it: it is replaced
                os.kill(stopped, signal.SIGCONT)
        wait_until(lambda: run("health", "alive", "--ready", folder=project).returncode == 0, "both to be ready again")
        fleet.send(signal.SIGTERM)
        assert fleet.wait() == 0, fleet.output
