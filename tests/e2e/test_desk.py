"""The desk as its users start it: beside a worker, alone, with several processes, mounted; as real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_project import lines_of, notes, write_project
from tests.support.ports import free_port
from tests.support.process import Process, run, start, wait_until

pytestmark = pytest.mark.e2e

HANDLER = """
import time

def handle(body):
    note(f"start {body}")
    while not Path(__file__).with_name("go").exists():
        time.sleep(0.01)
"""
BLOCKING = """
import time

async def handle(body):
    note("blocked")
    while not Path(__file__).with_name("go").exists():
        time.sleep(0.01)
"""
MEMORY = "--override=app:driver:kind=queue.driver.memory"


def get(port: int, path: str = "/", *, host: str = "localhost", token: str = "") -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": host})
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    while True:
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, words(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 429:
                    return error.code, words(error.read().decode())
                time.sleep(float(error.headers["retry-after"]))  # this test asks oftener than people do


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


@contextmanager
def worker(folder: Path, port: int, *options: str) -> Iterator[Process]:
    words = ("--log-format", "json", "--admin-open", "--admin", f"127.0.0.1:{port}", *options)
    with start("run", *words, folder=folder) as process:
        process.wait_for("running; stop with")
        yield process


def is_shown(port: int, path: str, text: str) -> bool:
    return text in get(port, path)[1]


def test_a_worker_shows_its_desk_and_takes_it_along(tmp_path: Path) -> None:
    folder, port = write_project(tmp_path, HANDLER), free_port()
    run("publish", "tasks", '{"to": "kana"}', folder=folder)
    with worker(folder, port) as process:
        wait_until(lambda: is_shown(port, "/queues/app:tasks?tab=running", "app:handle"), "the running message")
        wait_until(lambda: is_shown(port, "/workers", "app:consumer 1/1"), "the consumer at work")
        (folder / "go").touch()
        process.process.send_signal(signal.SIGTERM)
        assert process.process.wait(20) == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 1)


def test_the_desk_answers_while_the_event_loop_of_the_worker_is_blocked(tmp_path: Path) -> None:
    folder, port = write_project(tmp_path, BLOCKING), free_port()
    run("publish", "tasks", "1", folder=folder)
    run("publish", "tasks", "2", folder=folder)
    with worker(folder, port) as process:
        wait_until((folder / "notes.txt").exists, "the handler")

        status, text = get(port, "/queues")

        assert status == 200
        assert "app:tasks" in text
        wait_until(lambda: get(port, "/livez", host="10.0.0.7")[0] == 503, "the red probe")
        assert "event loop has been blocked" in get(port, "/api/v1/health")[1]
        (folder / "go").touch()
        wait_until(lambda: get(port, "/livez", host="10.0.0.7")[0] == 200, "the green probe")
        process.process.send_signal(signal.SIGTERM)
        process.process.wait(20)


def test_several_processes_have_one_desk(tmp_path: Path) -> None:
    folder, port = write_project(tmp_path, HANDLER), free_port()
    with start("run", "--processes", "2", "--admin-open", "--admin", f"127.0.0.1:{port}", folder=folder):
        wait_until(lambda: _listens(port), "the desk")
        wait_until(lambda: is_shown(port, "/", "Workers 2"), "both workers")
        wait_until(lambda: get(port, "/readyz")[0] == 200, "both processes are ready")
        run("publish", "tasks", "1", folder=folder)
        run("publish", "tasks", "2", folder=folder)
        delivered = 'tasuki_messages_delivered_total{queue="app:tasks",consumer="app:consumer",driver="app:driver"} 2'
        wait_until(lambda: is_shown(port, "/metrics", delivered), "the sum over the processes")
        (folder / "go").touch()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_the_desk_alone_shows_what_other_processes_do(tmp_path: Path) -> None:
    folder, port = write_project(tmp_path, HANDLER), free_port()
    with ExitStack() as stack:
        desk = stack.enter_context(start("desk", "--admin-open", "--admin", f"127.0.0.1:{port}", folder=folder))
        wait_until(lambda: _listens(port), "the desk")
        wait_until(lambda: is_shown(port, "/queues", "not made yet"), "the queue that no worker has made")
        assert not (folder / ".tasuki").exists()

        run("publish", "tasks", "--file", "-", folder=folder, stdin=lines_of(*range(3)))
        wait_until(lambda: is_shown(port, "/queues", "app:tasks app:driver 3"), "the messages")
        desk.process.send_signal(signal.SIGTERM)
        assert desk.process.wait(20) == 0


def test_another_address_needs_a_token(tmp_path: Path) -> None:
    folder, port = write_project(tmp_path, HANDLER), free_port()
    done = run("desk", "--admin", f"0.0.0.0:{port}", folder=folder)
    assert done.returncode == 1
    assert "can be reached from other machines, and needs a token" in done.stderr

    (folder / "token").write_text("short\n")
    done = run("run", "--admin", f"0.0.0.0:{port}", "--admin-token-file", "token", folder=folder)
    assert done.returncode == 1
    assert "the token of the desk has 5 characters, and needs 22" in done.stderr

    token = "t" * 30
    (folder / "token").write_text(token + "\n")
    options = ("--admin", f"0.0.0.0:{port}", "--admin-token-file", "token", "--admin-host", "desk.example")
    with start("desk", *options, folder=folder) as desk:
        desk.wait_for("speaks no TLS")
        wait_until(lambda: _listens(port), "the desk")
        assert get(port, "/queues", host="desk.example", token=token)[0] == 200
        assert get(port, "/queues", host="other.example", token=token)[0] == 421
        assert "The desk needs its token." in get(port, "/queues", host="desk.example")[1]


def test_a_taken_port_and_a_bad_address_are_told(tmp_path: Path) -> None:
    folder = write_project(tmp_path, HANDLER)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("run", "--admin", f"127.0.0.1:{taken.getsockname()[1]}", folder=folder)
        assert done.returncode == 1
        assert "already in use" in done.stderr
    done = run("desk", "--admin", "9321", folder=folder)
    assert done.returncode == 1
    assert "'9321' is no address; write host:port" in done.stderr


def test_queues_in_memory_have_no_desk_alone(tmp_path: Path) -> None:
    done = run("desk", "--admin", f"127.0.0.1:{free_port()}", MEMORY, folder=write_project(tmp_path, HANDLER))

    assert done.returncode == 1
    assert "it lives in the memory of the process that runs it" in done.stderr


def test_without_its_packages_the_desk_names_the_extra(tmp_path: Path) -> None:
    folder = write_project(tmp_path, HANDLER)
    (folder / "sitecustomize.py").write_text(
        "import sys\nfor name in ('starlette', 'uvicorn', 'jinja2'):\n    sys.modules[name] = None\n"
    )
    lacking = {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}

    def ended(*arguments: str) -> tuple[int, str]:
        process = Process(arguments, folder, variables=lacking)
        try:
            return process.wait(), process.output
        finally:
            process.kill()

    for command in ("run", "desk"):
        code, output = ended(command, "--admin", f"127.0.0.1:{free_port()}")
        assert code == 1
        assert "pip install 'tasuki[desk]'" in output
    assert ended("run", "--until-empty")[0] == 0


def test_an_act_stands_in_the_log_of_the_worker(tmp_path: Path) -> None:
    folder, port = write_project(tmp_path, HANDLER), free_port()
    with worker(folder, port, "--admin-actor", "kana") as process:
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        ask = f"http://localhost:{port}/confirm?act=pause&kind=queue&id=app:tasks"
        with opener.open(ask, timeout=20) as answer:
            page = answer.read().decode()
        token = re.search(r'name="token" value="([^"]*)"', page)
        assert token is not None
        form = f"token={token[1]}&act=pause&kind=queue&id=app:tasks".encode()
        with opener.open(f"http://localhost:{port}/acts/pause", form, timeout=20) as answer:
            assert answer.status == 200
        line = json.loads(process.wait_for("desk: pause queue app:tasks"))
        assert line["actor"] == "kana"
        assert line["client"] == "127.0.0.1"
        assert "paused" in json.loads(run("info", "tasks", "--json", folder=folder).stdout)


@pytest.mark.parametrize("options", [(), ("--processes", "2")])
def test_the_desk_follows_a_reload(tmp_path: Path, options: tuple[str, ...]) -> None:
    folder, port = write_project(tmp_path, HANDLER), free_port()
    with worker(folder, port, *options) as process:
        assert "app:later" not in get(port, "/queues")[1]
        entries = (folder / "_index.yaml").read_text()
        (folder / "_index.yaml").write_text(entries + "  - {name: later, kind: queue.queue, driver: driver}\n")
        process.send(signal.SIGHUP)
        wait_until(lambda: is_shown(port, "/queues", "app:later app:driver 0"), "the new queue")


def test_dev_is_a_worker_that_reloads_and_its_desk(tmp_path: Path) -> None:
    folder = write_project(tmp_path, "def handle(body): note(f'one {body}')\n")
    with start("dev", "--admin-open", folder=folder) as process:
        found = re.search(r"desk +http://127\.0\.0\.1:(\d+)/", process.wait_for("  desk  "))
        assert found is not None, process.output
        port = int(found[1])
        process.wait_for("running; stop with")
        wait_until(lambda: is_shown(port, "/workers", "app:consumer"), "the worker on its desk")
        write_project(tmp_path, "def handle(body): note(f'two {body}')\n")
        process.wait_for("reloaded")
        run("publish", "tasks", "1", folder=folder)
        wait_until(lambda: notes(folder) == ["two 1"], "the new version")
        assert is_shown(port, "/queues", "app:tasks")
        process.send(signal.SIGTERM)
        assert process.wait() == 0, process.output


PREFETCHED = """
import asyncio
from pathlib import Path

from tasuki import App

app = App()
tasks = app.queue("tasks")


@tasks.consumer(concurrency=1, prefetch=5)
async def handle(body: object) -> None:
    while not Path(__file__).with_name("go").exists():
        await asyncio.sleep(0.01)
"""


def test_the_desk_beside_a_worker_finds_what_that_worker_has_fetched(tmp_path: Path) -> None:
    """The desk reads with its own app, whose consumers do not run."""
    (tmp_path / "jobs.py").write_text(PREFETCHED)
    port = free_port()
    with start("run", "jobs:app", "--admin-open", "--admin", f"127.0.0.1:{port}", folder=tmp_path) as process:
        process.wait_for("running; stop with")
        for id in ("first", "fetched"):
            run("publish", "tasks", "1", "--id", id, "--project", "jobs:app", folder=tmp_path)

        def told(id: str) -> tuple[int, Any]:
            status, text = get(port, f"/api/v1/messages/app:tasks/{id}")
            return status, json.loads(text)

        wait_until(lambda: told("first")[1].get("state") == "running", "the first one runs")
        wait_until(lambda: '"prefetched"' in json.dumps(told("fetched")[1]), "the other is fetched")
        status, document = told("fetched")
        assert (status, document["state"], document["status"]) == (200, "waiting", "waiting")
        assert get(port, "/messages/app:tasks/fetched")[0] == 200
        gone, problem = told("never")
        assert gone == 404
        assert "it is settled, or never was there" in problem["detail"]
        (tmp_path / "go").touch()
