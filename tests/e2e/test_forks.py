"""Handlers that fork: what the child meets, and that the worker does not notice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli_project import lines_of, notes, write_project
from tests.support.process import TIMEOUT, environ, run, run_json

pytestmark = pytest.mark.e2e

FORK = """
import os, signal, sys

def handle(body):
    child = os.fork()
    if not child:
        if body == "stopped":
            signal.pause()
            os._exit(1)
        if body == "exit":
            sys.exit(3)
        if body == "error":
            raise ValueError("in the child")
        return
    if body == "stopped":
        os.kill(child, signal.SIGTERM)
    note(f"{body} {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")
"""


@pytest.mark.parametrize("isolation", ["shared", "process"])
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_forked_child_ends_by_itself_and_the_worker_goes_on(tmp_path: Path, kind: str, isolation: str) -> None:
    project = write_project(tmp_path, FORK.replace("def handle", f"{kind} handle"))
    bodies = lines_of("stopped", "exit", "error", "return")
    assert run("publish", "tasks", "--file", "-", folder=project, stdin=bodies).returncode == 0
    done = run("run", "--until-empty", "-o", f"app:handle:isolation={isolation}", folder=project)
    assert done.returncode == 0, done.stderr
    assert notes(project) == ["stopped -15", "exit 3", "error 1", "return 0"]
    assert run_json("info", "dead", folder=project)["message_count"] == 0
    assert "stopping" not in done.stderr


SERVER = """
import asyncio, os
from tasuki import App

app = App()
app.queue("tasks")

def in_child():
    child = os.fork()
    if not child:
        app.sync.publish("tasks", "from the child")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

async def within_the_open_app():
    async with app:
        await asyncio.to_thread(in_child)
        await app.publish("tasks", "from the open app")

app.sync.publish("tasks", "from the parent")
in_child()
app.sync.publish("tasks", "from the parent again")
app.sync.close()
asyncio.run(within_the_open_app())
"""


def published(script: str, folder: Path) -> list[str]:
    """What lies in the queue ``tasks`` after a script has run, first in first."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=TIMEOUT, check=False, env=environ())
    assert done.returncode == 0, done.stderr.decode()
    (folder / "tasks.py").write_text('from tasuki import App\n\napp = App()\napp.queue("tasks")\n')
    return [message["body"] for message in run_json("peek", "tasks", "-p", "tasks:app", folder=folder)]


def test_a_child_of_a_process_that_has_published_publishes_too(tmp_path: Path) -> None:
    assert published(SERVER, tmp_path) == [
        "from the parent",
        "from the child",
        "from the parent again",
        "from the child",
        "from the open app",
    ]


OUTLIVED = """
import os
from tasuki import App

app = App()
app.queue("tasks")
app.sync.publish("tasks", "from the parent")
to_parent, to_child = os.pipe(), os.pipe()
child = os.fork()
if not child:
    app.sync.publish("tasks", "while the parent has it open")
    os.write(to_parent[1], b"x")
    os.read(to_child[0], 1)
    app.sync.publish("tasks", "after the parent has closed it")
    os._exit(0)
os.read(to_parent[0], 1)
app.sync.close()
os.write(to_child[1], b"x")
assert os.waitpid(child, 0)[1] == 0
"""


def test_what_a_child_publishes_outlives_the_end_of_its_parent(tmp_path: Path) -> None:
    """The last one that closes a file removes its log: a child that seemed not to have it open wrote to nowhere."""
    assert published(OUTLIVED, tmp_path) == [
        "from the parent",
        "while the parent has it open",
        "after the parent has closed it",
    ]
