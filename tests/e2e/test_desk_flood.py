"""Floods at the desk of a worker: dear requests, event streams without end, clients that send half a request."""

from __future__ import annotations

import json
import os
import resource
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tasuki.desk.server import MOST_CONNECTIONS
from tests.e2e.test_desk import get, worker
from tests.support.cli_project import lines_of, notes, write_project
from tests.support.ports import free_port
from tests.support.process import run, run_json, start, wait_until

CLIENTS = 10_000
OTHERS = 200
"""Files of the worker and of this test beside the connections."""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
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


@pytest.mark.skipif(not os.environ.get("CAMPAIGN"), reason="takes two minutes; CAMPAIGN=1 runs it")
def test_ten_thousand_event_streams_and_slow_clients_leave_the_worker_alone(tmp_path: Path) -> None:
    folder, port = write_project(tmp_path, "def handle(body):\n    note(str(body))\n"), free_port()
    with (
        start("run", "--admin-open", "--admin", f"127.0.0.1:{port}", folder=folder) as process,
        many_files(),
        ExitStack() as stack,
    ):
        process.wait_for("running; stop with")
        for number in range(CLIENTS):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            line.sendall(STREAM if number % 3 else HALF)  # none reads its answer
        run("publish", "tasks", "--file", "-", folder=folder, stdin=lines_of(*range(500)))
        wait_until(lambda: len(notes(folder)) == 500, "all messages")

        files = len(os.listdir(f"/proc/{process.process.pid}/fd"))
        assert files < MOST_CONNECTIONS + OTHERS
        assert _probe(port).startswith(b"HTTP/1.1 200")


def _probe(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 20) as line:
        line.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return line.recv(1000)


FLOOD = 100
"""Requests at once: as many as one address may send before it is slowed."""
SHARE = 1 / 3
"""Of the processor time of a flood, so much at most has passed when a probe is answered."""
FREE = 0.1
"""Seconds of processor time that do not count."""
FLOODS = {
    "pages of messages": ("GET", "/queues/app:dead", "", b""),
    "long lists": ("GET", "/api/v1/queues/app%3Adead/messages?limit=200", "", b""),
    "wrong tokens": ("GET", "/api/v1/queues", "Authorization: Bearer wrong\r\n", b""),
    "large bodies": (
        *("POST", "/api/v1/queues/app%3Adead/messages"),
        *(
            "Content-Type: application/json\r\nOrigin: http://localhost\r\n",
            json.dumps({"body": ["x"] * 50_000}).encode(),
        ),
    ),
}


def test_a_probe_is_answered_while_a_flood_of_dear_requests_is(tmp_path: Path) -> None:
    """Early in it, by the processor time of the worker: without turns a probe waits for three quarters of the pages."""
    folder, port = write_project(tmp_path, "def handle(body):\n    note(str(body))\n"), free_port()
    bodies = ({"items": [f"item-{number}-{each}" for each in range(1500)]} for number in range(100))
    run("publish", "dead", "--file", "-", folder=folder, stdin=lines_of(*bodies))
    with start("run", "--admin-open", "--admin", f"127.0.0.1:{port}", folder=folder) as process:
        process.wait_for("running; stop with")
        clock = (
            ~process.process.pid << 3
        ) | 2  # CLOCK_PROCESS_CPUTIME_ID of another process, see clock_getcpuclockid(3)
        for name, (method, path, head, body) in FLOODS.items():
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}{length}\r\n".encode()
            begun = time.clock_gettime(clock)
            with ExitStack() as stack:
                lines = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 60)) for _ in range(FLOOD)]
                for line in lines:
                    line.sendall(request + body)
                asked = time.clock_gettime(clock)
                assert _probe(port).startswith(b"HTTP/1.1 200")
                late = time.clock_gettime(clock) - asked
                answers = [line.recv(12) for line in lines]
            assert all(answer.startswith(b"HTTP/1.1 ") for answer in answers), name
            whole = time.clock_gettime(clock) - begun
            assert late <= max(FREE, SHARE * whole), f"{name}: {late:.2f} of {whole:.2f} s"


def test_a_flood_of_half_requests_and_streams_leaves_the_worker_alone(tmp_path: Path) -> None:
    folder, port = write_project(tmp_path, "def handle(body):\n    note(str(body))\n"), free_port()
    with worker(folder, port), ExitStack() as stack:
        flood = []
        for number in range(700):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
            line.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n" + (b"\r\n" if number % 2 else b"X-Half: "))
            flood.append(line)
        run("publish", "tasks", "--file", "-", folder=folder, stdin=lines_of(*range(200)))

        wait_until(lambda: len(notes(folder)) == 200, "all messages")

        assert _ended(flood) >= 700 - 512
        for line in flood:
            line.close()
        wait_until(lambda: _is_well(port), "the desk")


def test_a_flood_of_requests_to_the_api_leaves_the_worker_alone(tmp_path: Path) -> None:
    folder, port = write_project(tmp_path, "def handle(body):\n    note(str(body))\n"), free_port()
    half = b"POST /api/v1/queues/app:dead/pause HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with worker(folder, port), ExitStack() as stack:
        for _ in range(100):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", port), 20))
            line.sendall(half + b"Content-Length: 1000000\r\n\r\n{")
        run("publish", "tasks", "--file", "-", folder=folder, stdin=lines_of(*range(200)))

        with ThreadPoolExecutor(8) as threads:
            statuses = set(threads.map(lambda number: _flood(port, number), range(1000)))
            wait_until(lambda: len(notes(folder)) == 200, "all messages")

        assert 429 in statuses
        assert statuses <= {200, 400, 404, 405, 413, 415, 429}
        wait_until(lambda: _is_well(port), "the desk")
    assert run_json("info", "dead", folder=folder).get("paused") is None


def _flood(port: int, number: int) -> int:
    """One of several kinds of requests; its status."""
    json_type = {"Content-Type": "application/json", "Host": "localhost"}
    method, path, body = (
        ("GET", "/api/v1/queues/app:tasks/messages?limit=200", None),
        ("GET", "/openapi.json", None),
        ("POST", "/api/v1/queues/app:dead/pause", b"[" * 60_000),
        ("POST", "/api/v1/queues/app:dead/pause", b'{"reason": "' + b"x" * 1_000_000 + b'"}'),
        ("POST", "/api/v1/queues/app:dead/scale", b"{}"),
        ("DELETE", "/api/v1/overview", b"{}"),
        ("POST", "/api/v1/schedules/x/run", b'{"a": 1' + b"0" * 5000 + b"}"),
    )[number % 7]
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, json_type, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 413  # the desk closed the connection before all of the body was sent


def _ended(lines: list[socket.socket]) -> int:
    """How many connections the server has closed."""
    ended = 0
    for line in lines:
        line.setblocking(False)
        try:
            while line.recv(65536):
                pass  # an answer, before it was idle
            ended += 1
        except BlockingIOError:
            pass
        except OSError:
            ended += 1
    return ended


def _is_well(port: int) -> bool:
    try:
        return get(port, "/static/nothing")[0] == 404
    except OSError:
        return False
