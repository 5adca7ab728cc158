"""Event streams without end, and clients that read nothing or send half a request, at the desk of a worker."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tasuki.desk.server.protocol import MOST_CONNECTIONS
from tests.support.cli_project import lines_of, notes, write_project
from tests.support.ports import free_port
from tests.support.process import run, start, wait_until

CLIENTS = 10_000
OTHERS = 200
"""Files of the worker and of this test beside the connections."""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    # test_desk.py has the same with 700 connections
    pytest.mark.skipif(not os.environ.get("CAMPAIGN"), reason="takes two minutes; CAMPAIGN=1 runs it"),
]
STREAM = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF = b"GET /events HTTP/1.1\r\nHost: localhost\r\nX-Half: "


@contextmanager
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CLIENTS + OTHERS:
        pytest.skip(f"this system lets a process have {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CLIENTS + OTHERS), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_ten_thousand_event_streams_and_slow_clients_leave_the_worker_alone(tmp_path: Path) -> None:
    folder, port = write_project(tmp_path, "def handle(body):\n    note(str(body))\n"), free_port()
    with (
        start("run", "--admin-open", "--admin", f"127.0.0.1:{port}", folder=folder) as worker,
        many_files(),
        ExitStack() as stack,
    ):
        worker.wait_for("running; stop with")
        for number in range(CLIENTS):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            line.sendall(STREAM if number % 3 else HALF)  # none reads its answer
        run("publish", "tasks", "--file", "-", folder=folder, stdin=lines_of(*range(500)))
        wait_until(lambda: len(notes(folder)) == 500, "all messages")

        files = len(os.listdir(f"/proc/{worker.process.pid}/fd"))
        assert files < MOST_CONNECTIONS + OTHERS
        assert _probe(port).startswith(b"HTTP/1.1 200")


def _probe(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 20) as line:
        line.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return line.recv(1000)
