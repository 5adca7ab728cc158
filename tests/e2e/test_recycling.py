"""``tasuki run`` with a limit: a process ends in order, and of several processes another one follows."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tests.e2e.projects import write
from tests.support.cli_project import lines_of, notes, write_project
from tests.support.process import run, run_json, start, wait_until

pytestmark = pytest.mark.e2e

HANDLER = """
import os

def handle(body):
    note(f"{body} {os.getpid()}")
"""


def publish(folder: Path, *bodies: object) -> None:
    done = run("publish", "tasks", "--file", "-", folder=folder, stdin=lines_of(*bodies))
    assert done.returncode == 0, done.stderr


def has_notes(folder: Path, count: int) -> bool:
    return len(notes(folder)) >= count


def test_a_process_ends_in_order_after_its_messages(tmp_path: Path) -> None:
    project = write_project(tmp_path, HANDLER)
    publish(project, 1, 2, 3)
    done = run("run", "--max-messages", "3", "--log-format", "text", folder=project)
    assert done.returncode == 0, done.stderr
    assert "this process ends in order: it has handled 3 messages (at most 3)" in done.stderr
    assert len(notes(project)) == 3


def test_of_several_processes_each_is_replaced_and_nothing_is_lost(tmp_path: Path) -> None:
    project = write_project(tmp_path, HANDLER)
    publish(project, 1)
    with start("run", "--processes", "2", "--max-messages", "1", folder=project) as worker:
        for number in range(2, 5):
            wait_until(partial(has_notes, project, number - 1), "the message before")
            worker.wait_for("this process ends in order")
            publish(project, number)
        wait_until(lambda: len(notes(project)) == 4, "all four")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output
    assert sorted(note.split()[0] for note in notes(project)) == ["1", "2", "3", "4"]
    assert run_json("info", "tasks", folder=project)["message_count"] == 0


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--max-messages", "0", "0 is not in the range x>=1"),
        ("--max-memory", "much", "'much' is not a size; write it like 65536, 256KiB or 1MiB"),
        ("--max-memory", "1MiB", "'--max-memory': 1MiB is too little: the process holds"),
        ("--max-age", "0s", "'0s' must be more than 0"),
        ("--max-age", "soon", "'soon' is not a duration"),
    ],
)
def test_a_limit_that_is_none_is_refused(tmp_path: Path, option: str, value: str, problem: str) -> None:
    done = run("run", option, value, folder=write_project(tmp_path, HANDLER))
    assert done.returncode == 2
    assert problem in " ".join(done.stderr.split())


ISOLATED = {
    "_index.yaml": """
namespace: app
entries:
  - name: work
    kind: KIND
    source: file://work.FILE
    method: work
    isolation: process
    pool: {workers: 2, max_messages: 2}
""",
    "work.py": "async def work(number):\n    return number\n",
    "work.lua": "return {work = function(number) return number end}\n",
}


@pytest.mark.anyio
@pytest.mark.parametrize("language", ["python", "lua"])
async def test_a_process_of_an_isolated_function_is_replaced_between_messages(tmp_path: Path, language: str) -> None:
    index = ISOLATED["_index.yaml"].replace("KIND", f"function.{language}")
    write(tmp_path, {**ISOLATED, "_index.yaml": index.replace("FILE", "py" if language == "python" else "lua")})
    app = App.load(tmp_path)
    async with app.worker():
        pids: set[int] = set()
        for number in range(8):
            assert await app.call("app:work", number) == number
            assert app._runtime.assembly is not None
            handler: Any = app._runtime.assembly.handlers["app:work"]
            pids.update(handler.processes())
            assert len(handler.processes()) <= 2
        assert len(pids) >= 4
        assert await asyncio.gather(*(app.call("app:work", number) for number in range(20))) == list(range(20))
