"""A handler that blocks the event loop: what it is, is said while it lasts, and QUIT is answered."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.support.cli_project import write_project
from tests.support.process import run, run_json, start

pytestmark = [pytest.mark.e2e]

HANDLER = """
import os, time

async def handle(body: int) -> None:
    wait_for_a_lock()

def wait_for_a_lock() -> None:
    while not os.path.exists("go on"):
        time.sleep(0.01)
"""


def test_a_blocked_loop_is_reported_with_its_stack_and_its_message(tmp_path: Path) -> None:
    write_project(tmp_path, HANDLER)
    published = run("publish", "app:tasks", "1", "--json", folder=tmp_path)
    id = json.loads(published.stdout)["id"]
    with start("run", "--log-format", "json", folder=tmp_path) as worker:
        record = json.loads(worker.wait_for("the event loop is blocked"))
        assert f"by the handler app:handle (message {id})" in record["message"]
        assert "in wait_for_a_lock" in record["message"]
        assert "pool.py" not in record["message"], "the user's own frames"
        assert (record["message_id"], record["consumer"]) == (id, "app:consumer")
        worker.send(signal.SIGQUIT)
        worker.wait_for("app:consumer: 1 running, 1 held")
        worker.wait_for(f"message {id}, attempt 1")
        (tmp_path / "go on").touch()
        worker.wait_for("the event loop runs again; it was blocked for")
        worker.send(signal.SIGTERM)
        assert worker.wait() in (0, 143)


FOR_EVER = """
async def handle(body: int) -> None:
    while True:
        pass
"""


def test_a_worker_whose_loop_is_blocked_for_ever_ends_all_the_same(tmp_path: Path) -> None:
    write_project(tmp_path, FOR_EVER, stop_timeout="10m")
    run("publish", "app:tasks", "1", folder=tmp_path)
    with start("run", folder=tmp_path) as worker:
        worker.wait_for("the event loop is blocked")
        worker.send(signal.SIGTERM)
        worker.send(signal.SIGINT)
        assert worker.wait() in (130, 143), "which is heard first is the system's choice"
    assert "this process cannot drain" in worker.output
    assert run_json("info", "app:tasks", folder=tmp_path)["message_count"] == 1


def test_a_blocked_loop_has_its_time_to_stop_and_no_more(tmp_path: Path) -> None:
    write_project(tmp_path, FOR_EVER, stop_timeout="100ms")
    run("publish", "app:tasks", "1", folder=tmp_path)
    with start("run", folder=tmp_path) as worker:
        worker.wait_for("the event loop is blocked")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 5
