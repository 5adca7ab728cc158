"""``SIGHUP`` with a changed driver: no message is lost, and a change that would leave some behind is refused."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tasuki import App
from tasuki.errors import LifecycleError
from tests.e2e import projects
from tests.e2e.test_every_driver import renamed
from tests.support.brokers.everywhere import overrides
from tests.support.process import run, run_json, start, wait_until

pytestmark = pytest.mark.e2e

MESSAGES = 300
ENTRIES = """
namespace: app
entries:
  - {{name: memory, kind: queue.driver.memory, lifecycle: {{stop_timeout: {stop_timeout}}}}}
  - {{name: disk, kind: queue.driver.sqlite, path: {path}, lifecycle: {{stop_timeout: {stop_timeout}}}}}
  - {{name: go, kind: queue.queue, driver: disk}}
  - {{name: kept, kind: queue.queue, driver: disk}}
  - {{name: tasks, kind: queue.queue, driver: memory}}
  - {{name: fill, kind: function.python, source: file://handlers.py, method: fill}}
  - {{name: note, kind: function.python, source: file://handlers.py, method: note}}
  - {{name: go.consumer, kind: queue.consumer, queue: go, func: fill, lifecycle: {{auto_start: true}}}}
  - {{name: tasks.consumer, kind: queue.consumer, queue: tasks, func: note, lifecycle: {{auto_start: {consumes}}}}}
"""
HANDLERS = f"""
from pathlib import Path
from tasuki import Context

async def fill(body, context: Context):
    for number in range({MESSAGES}):
        await context.publish("tasks", number)
    context.logger.info("filled")

def note(body):
    with open(Path(__file__).with_name("notes.txt"), "a") as file:
        file.write(f"{{body}}\\n")
"""


def write(folder: Path, *, stop_timeout: str = "10s", path: str = "a.db", consumes: str = "false") -> None:
    text = ENTRIES.format(stop_timeout=stop_timeout, path=path, consumes=consumes)
    projects.write(folder, {"_index.yaml": text, "handlers.py": HANDLERS})


def test_hup_keeps_what_the_drivers_hold_or_refuses(tmp_path: Path) -> None:
    write(tmp_path)
    assert run("publish", "kept", "1", folder=tmp_path).returncode == 0
    with start("run", folder=tmp_path) as worker:
        worker.wait_for("running")
        assert run("publish", "go", "1", folder=tmp_path).returncode == 0
        worker.wait_for("filled")
        write(tmp_path, stop_timeout="3s")
        worker.send(signal.SIGHUP)
        worker.wait_for("reloaded: 0 added, 0 removed, 2 changed")
        write(tmp_path, stop_timeout="3s", path="b.db")
        worker.send(signal.SIGHUP)
        refusal = worker.wait_for("reload refused")
        assert "driver 'app:disk' cannot be changed while messages wait" in refusal
        assert "1 in queue 'app:kept'" in refusal
        write(tmp_path, stop_timeout="3s", consumes="true")
        worker.send(signal.SIGHUP)
        worker.wait_for("reloaded: 0 added, 0 removed, 1 changed")
        notes = tmp_path / "notes.txt"
        wait_until(lambda: notes.exists() and len(notes.read_text().splitlines()) >= MESSAGES, "every message")
        assert sorted(map(int, notes.read_text().split())) == list(range(MESSAGES))
        assert run_json("info", "kept", folder=tmp_path)["ready"] == 1
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0, worker.output


ONE_QUEUE = """
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: tasks, kind: queue.queue, driver: driver}
"""
SAME_PLACE = {
    "sqlite": "busy_timeout=1s",
    "redis": "client_name=other",
    "amqp": "connection_name=other",
    "postgres": "pool_size=3",
    "nats": "connection_name=other",
}
ELSEWHERE = {
    "sqlite": "path=other.db",
    "redis": "db=3",
    "amqp": "vhost=nowhere",
    "postgres": "schema=elsewhere",
    "nats": "stream_prefix=elsewhere",
}


@pytest.mark.anyio
@pytest.mark.parametrize("driver", SAME_PLACE)
async def test_a_reload_tells_another_connection_from_another_place(driver: str, tmp_path: Path) -> None:
    projects.write(tmp_path, {"_index.yaml": ONE_QUEUE})
    base = [*overrides(driver, "app:driver", tmp_path), *renamed("app:tasks")]
    async with App.load(tmp_path, overrides=base) as app:
        await app.queue("app:tasks").publish_many(range(5))
        assert app._runtime.assembly is not None
        before = app._runtime.assembly.drivers["app:driver"]
        for change, is_kept in (("lifecycle.stop_timeout=3s", True), (SAME_PLACE[driver], False)):
            app._runtime.overrides = [*base, f"app:driver:{change}"]
            await app.reload()
            assert (app._runtime.assembly.drivers["app:driver"] is before) == is_kept
            assert (await app._runtime.queue("app:tasks").info())["ready"] == 5
        app._runtime.overrides = [*base, f"app:driver:{ELSEWHERE[driver]}"]
        with pytest.raises(
            LifecycleError, match=r"driver 'app:driver' cannot be changed .* \(5 in queue 'app:tasks'\)"
        ):
            await app.reload()
        assert await app._runtime.queue("app:tasks").purge() == 5
