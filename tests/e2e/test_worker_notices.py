"""What all faces say of a worker that is blocked, killed or alone: the same as its own probe, and as the broker."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tasuki.state.worker_record import WorkerHealth
from tests.e2e.test_desk import get
from tests.e2e.test_pausing import WITH_STORES, Fleet
from tests.support.cli_project import write_project
from tests.support.ports import free_port
from tests.support.process import TIMEOUT, Process, run, start, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

BLOCKING = """
import time

async def handle(body):
    note("blocked")
    while not Path(__file__).with_name("go").exists():
        time.sleep(0.01)
"""


def api(port: int, path: str) -> Any:
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1{path}", timeout=TIMEOUT) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 429:
                    raise
                time.sleep(float(error.headers["retry-after"]))  # this test asks oftener than people do


def codes(port: int) -> list[str]:
    return [each["code"] for each in api(port, "/overview")["notices"]]


@contextmanager
def desk_beside(folder: Path) -> Iterator[tuple[Process, int]]:
    """A worker, and a desk in its own process."""
    port = free_port()
    with (
        start("run", folder=folder) as worker,
        start("desk", "--admin-open", "--admin", f"127.0.0.1:{port}", folder=folder) as desk,
    ):
        worker.wait_for("running; stop with")
        desk.wait_for(f":{port}")
        yield worker, port


@pytest.mark.parametrize("driver", WITH_STORES)
def test_a_blocked_loop_is_in_the_entry_on_each_driver(driver: str, tmp_path: Path) -> None:
    """Written by threads of the worker, with connections of theirs, while its event loop stands still."""
    with ExitStack() as stack:
        fleet = Fleet(driver, tmp_path, stack)
        write_project(tmp_path, BLOCKING)
        fleet.worker()
        fleet.publish(1)

        def health() -> WorkerHealth | None:
            return next((worker.health for worker in fleet.act(lambda app: app.workers.list())), None)

        def is_told() -> WorkerHealth | None:
            found = health()
            return found if found is not None and found.status == "not_live" else None

        told = wait_until(is_told, "the blocked loop")
        assert (told.check, "by the handler app:handle" in told.text) == ("loop", True)
        fleet.go()
        wait_until(lambda: health() == WorkerHealth("ok"), "the free loop")


def test_a_silent_worker_is_named_until_it_gives_a_sign_or_is_acknowledged(tmp_path: Path) -> None:
    """A frozen one looks like a killed one: no face says more than it knows."""
    folder = write_project(tmp_path, "async def handle(body): ...\n")
    with desk_beside(folder) as (worker, port):
        wait_until(lambda: len(api(port, "/workers")["items"]) == 1, "the worker")
        assert codes(port) == []
        (id,) = [each["id"] for each in api(port, "/workers")["items"]]
        worker.send(signal.SIGSTOP)
        wait_until(lambda: "lost" in codes(port), "the notice", timeout=3 * TIMEOUT)
        run("publish", "tasks", "1", folder=folder)
        assert run("queues", folder=folder).stderr.startswith(f"worker {id} has been silent for ")
        worker.send(signal.SIGCONT)
        wait_until(lambda: codes(port) == [], "the next sign", timeout=2 * TIMEOUT)
        worker.kill()
        wait_until(lambda: "lost" in codes(port), "the notice", timeout=3 * TIMEOUT)
        found = api(port, "/overview")["notices"]
        assert [each["code"] for each in found][:2] == ["none_alive", "lost"]
        assert f"Worker {id} has been silent for " in found[1]["text"]
        assert found[1]["text"].endswith("killed, frozen or cut off from its store.")
        answer = api(port, "/workers")
        assert (answer["items"], [each["id"] for each in answer["lost"]]) == ([], [id])
        assert "Acknowledge" in get(port, "/workers")[1]
        assert f"{id} has been silent for " in run("workers", folder=folder).stderr
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/workers/{id}/acknowledge", method="POST")
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request, b"{}", timeout=TIMEOUT) as done:
            assert json.load(done)["text"] == f"Acknowledged: worker {id} is gone."
        wait_until(lambda: "lost" not in codes(port), "the acknowledged end")
        assert codes(port) == ["none_alive"], "nothing is handled, acknowledged or not"
        assert run("workers", folder=folder).stderr.strip() == "no worker gives a sign of life; start one: tasuki run"


def test_a_clean_stop_is_no_notice(tmp_path: Path) -> None:
    folder = write_project(tmp_path, "async def handle(body): ...\n")
    with desk_beside(folder) as (worker, port):
        wait_until(lambda: len(api(port, "/workers")["items"]) == 1, "the worker")
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
        wait_until(lambda: codes(port) == ["none_alive"], "that no worker is alive")
        assert api(port, "/workers")["lost"] == []
