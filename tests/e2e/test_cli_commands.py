"""Each command, as a process: its output, its JSON, its exit code."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.cli_project import notes, write_project
from tests.support.process import TASUKI, environ, run, run_json, start

pytestmark = pytest.mark.e2e

LINE = shlex.join(TASUKI)

ECHO = """
import asyncio
from tasuki import Reject, Retry

def handle(body):
    note(str(body))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path, ECHO)


BROKEN = """
version: "1.0"
namespace: app
entries:
  - name: consumer
    kind: queue.consumer
    queue: taks
    func: handle
    concurrency: 2000
"""


def test_a_broken_project_starts_nothing_and_exits_with_3(project: Path) -> None:
    (project / "broken.yaml").write_text(BROKEN.replace("name: consumer", "name: other"))
    for command in (["run"], ["run", "--processes", "2"], ["publish", "tasks", "1"], ["test"], ["queues"], ["check"]):
        done = run(*command, folder=project)
        assert done.returncode == 3, command
        assert "broken.yaml:7:" in done.stderr
        assert "did you mean 'app:tasks'?" in done.stderr
        assert "concurrency 2000 exceeds maximum 1000" in done.stderr
        assert "2 problems" in done.stderr
        assert not (project / ".tasuki").exists()
    checked = run("check", "--json", folder=project)
    assert checked.returncode == 3
    problems = json.loads(checked.stdout)
    assert {tuple(problem) for problem in problems} == {("file", "line", "column", "entry", "message", "hint")}
    assert {(problem["file"], problem["entry"]) for problem in problems} == {("broken.yaml", "app:other")}
    assert problems[0]["line"] == 7
    assert problems[0]["hint"] == "did you mean 'app:tasks'?"


APP = """
from tasuki import App

app = App()
tasks = app.queue("tasks", dead_letter="tasks.dead")

@tasks.consumer(concurrency=2)
async def handle(body: dict) -> None:
    import logging
    logging.getLogger("code").info("handled %s", body)
"""


def test_an_app_in_code(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(APP)
    # Modules of the user must not hide modules of the standard library.
    (tmp_path / "queue.py").write_text("raise RuntimeError('hidden')\n")
    assert run_json("check", "work:app", folder=tmp_path) == []
    assert run_json("publish", "tasks", '{"n": 1}', "-p", "work:app", folder=tmp_path)["queue"] == "app:tasks"
    done = run("run", "work:app", "--until-empty", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "handled {'n': 1}" in done.stderr
    (tmp_path / "work.py").write_text("1 / 0\n")
    broken = run("run", "work:app", folder=tmp_path)
    assert broken.returncode == 3
    assert "ZeroDivisionError" in broken.stderr
    assert "work.py:1" in broken.stderr
    [problem] = json.loads(run("check", "work:app", "--json", folder=tmp_path).stdout)
    assert "ZeroDivisionError" in problem["message"]


def test_a_closed_stdout_is_no_error(project: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*TASUKI, "schema"], stdout=writing, stderr=subprocess.PIPE, timeout=30, env=environ(), check=False
        )
    finally:
        os.close(writing)
    assert done.returncode == 141
    assert done.stderr == b""


def test_ctrl_c_ends_a_command_quietly(project: Path) -> None:
    write_project(project, "import time\ndef handle():\n    note('called')\n    time.sleep(60)\n")
    with start("call", "handle", folder=project) as process:
        from tests.support.process import wait_until

        wait_until(lambda: notes(project), "the call")
        process.send(signal.SIGINT)

        def ended() -> bool:
            process.send(signal.SIGINT)  # the thread cannot be cancelled: asking again leaves it behind
            return process.process.poll() is not None

        wait_until(ended, "the end")
        assert process.wait() == 130
        assert "Traceback" not in process.output


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_end_no_command(project: Path, closed: str) -> None:
    done = shell(f"{LINE} publish tasks '\"one\"' {closed}", project)
    assert (done.returncode, done.stderr) == (0, "")
    assert shell(f"{LINE} queues {closed}", project).returncode == 0
    assert run_json("info", "tasks", folder=project)["ready"] == 1


def test_a_folder_that_has_been_removed(tmp_path: Path) -> None:
    done = shell(f"mkdir gone; cd gone; rmdir ../gone; {LINE} check", tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "error: the current folder has been removed; change to another one\n"


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, env=environ(), capture_output=True, text=True, timeout=30, check=False
    )
