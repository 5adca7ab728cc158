"""A handler that blocks the event loop: what it is, is said while it lasts, and QUIT is answered."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.support.cli_project import write_project
from tests.support.process import run, start

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
        worker.wait_for("the event loop goes on; it was blocked for")
        worker.send(signal.SIGTERM)
        assert worker.wait() in (0, 143)
