"""``tasuki workers ID --events``: the latest events in another process."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.cli_project import notes, write_project
from tests.support.process import run, run_json, start, wait_until

pytestmark = pytest.mark.e2e

HANDLER = """
def handle(body):
    note(f"got {body}")
    if body == 2:
        raise ValueError("not this one")
"""


def test_another_process_tells(tmp_path: Path) -> None:
    project = write_project(tmp_path, HANDLER)
    with start("run", folder=project) as worker:
        worker.wait_for("running")
        for body in ("1", "2"):
            assert run("publish", "tasks", body, folder=project).returncode == 0
        wait_until(lambda: len(notes(project)) >= 2, "both to be handled")
        wait_until(lambda: run_json("workers", folder=project), "the worker to say that it is there")
        pid = str(run_json("workers", folder=project)[0]["pid"])

        def kinds() -> list[str]:
            (events,) = run_json("workers", pid, "--events", folder=project).values()
            return [event["kind"] for event in events]

        wait_until(lambda: "error" in kinds(), "the failure")
        assert kinds()[:4] == ["received", "started", "ended", "settled"]
        shown = run("workers", pid, "--events", "--newest", "2", folder=project)
        assert shown.returncode == 0
        assert len(shown.stdout.splitlines()) == 3
        assert run("workers", "--events", folder=project).returncode == 2
        missing = run("workers", "gone:1", "--events", folder=project)
        assert (missing.returncode, "no worker with the id 'gone:1'" in missing.stderr) == (1, True)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output


HUNG = """
import os, time

def handle(body):
    note("begun")
    wait_for_a_lock()

def wait_for_a_lock():
    while not os.path.exists("go on"):
        time.sleep(0.01)
"""


def test_a_hung_plain_handler_is_shown_at_the_users_own_line(tmp_path: Path) -> None:
    project = write_project(tmp_path, HUNG)
    with start("run", folder=project) as worker:
        worker.wait_for("running")
        assert run("publish", "tasks", "1", folder=project).returncode == 0
        wait_until(lambda: notes(project) == ["begun"], "the handler to hang")
        wait_until(lambda: run_json("workers", folder=project), "the worker to say that it is there")
        pid = str(run_json("workers", folder=project)[0]["pid"])
        shown = run("workers", pid, "--events", folder=project).stdout
        assert "attempt 1, and is in:" in shown
        assert shown.index("in handle") < shown.index("in wait_for_a_lock")
        assert "pool.py" not in shown, "the user's own frames"
        worker.send(signal.SIGQUIT)
        worker.wait_for("in wait_for_a_lock")
        assert "pool.py" not in worker.output
        (tmp_path / "go on").touch()
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output
