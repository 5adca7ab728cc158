"""The log of a worker: each line within a handler says its message, from a thread and from its own process too."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.support.process import run, start

pytestmark = pytest.mark.e2e

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite, lifecycle: {auto_start: true}}
  - {name: tasks, kind: queue.queue, driver: driver}
  - {name: handle, kind: function.python, source: file://handlers.py, method: handle%s}
  - {name: consumer, kind: queue.consumer, queue: tasks, func: handle, lifecycle: {auto_start: true}}
"""
HANDLER = """
import logging

def handle(body):
    logging.getLogger("shop").warning("mine")
"""


@pytest.mark.parametrize("option", ["", ", isolation: process"], ids=["thread", "process"])
def test_a_line_of_the_users_own_logger_says_its_message(option: str, tmp_path: Path) -> None:
    (tmp_path / "_index.yaml").write_text(PROJECT % option)
    (tmp_path / "handlers.py").write_text(HANDLER)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    header = f"traceparent=00-{trace}-00f067aa0ba902b7-01"
    published = run("publish", "tasks", "1", "--id", "m", "--header", header, folder=tmp_path)
    assert published.returncode == 0, published.stderr
    with start("run", "--log-format", "json", folder=tmp_path) as worker:
        line = json.loads(worker.wait_for('"mine"'))
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output
    about = {name: line[name] for name in ("logger", "queue", "consumer", "message_id", "attempt", "trace")}
    assert about == {
        "logger": "shop", "queue": "app:tasks", "consumer": "app:consumer", "message_id": "m", "attempt": 1,
        "trace": trace,
    }  # fmt: skip
