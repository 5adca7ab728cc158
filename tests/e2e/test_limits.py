"""A limit for each tenant over several worker processes, on every driver that has lanes, and on the command line."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from tasuki import App, Envelope
from tasuki.dead.moving import by_receive
from tasuki.errors import HeldBackError
from tasuki.kinds.kind import all_capabilities
from tests.e2e.projects import write
from tests.e2e.test_every_driver import renamed
from tests.support.brokers.everywhere import DRIVERS, overrides
from tests.support.process import run, run_json, start, wait_until

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

LANES = {name for name, has in all_capabilities().items() if has.has("limits")}
ON = [driver for driver in DRIVERS if driver in LANES and driver != "memory"]
TENANTS = {"noisy": 40, "a": 6, "b": 6, "": 3}
PLACES = 3

PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite}
  - {name: tasks, kind: queue.queue, driver: driver, limit: {concurrency: 3, key: header.tenant}}
  - {name: handle, kind: function.python, source: file://work.py, method: handle}
  - {name: worker, kind: queue.consumer, queue: tasks, func: handle, concurrency: 8, lifecycle: {auto_start: true}}
"""
WORK = """\
import asyncio

from tasuki import Context


def note(what, context):
    with open("history", "a") as file:
        file.write(f"{what} {context.message.headers.get('tenant', '')}\\n")


async def handle(body, context: Context):
    note("enter", context)
    await asyncio.sleep(0.05)
    note("exit", context)
"""
RABBIT = ["-o", "app:driver:kind=queue.driver.amqp"]


def history(folder: Path) -> list[tuple[str, str]]:
    file = folder / "history"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def most_at_once(folder: Path) -> Counter[str]:
    """By tenant. Lines of two processes are in the order in which they were written."""
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for what, tenant in history(folder):
        running[tenant] += 1 if what == "enter" else -1
        most[tenant] = max(most[tenant], running[tenant])
    return most


@pytest.mark.parametrize("driver", ON)
async def test_each_tenant_has_its_places_over_all_processes(driver: str, tmp_path: Path) -> None:
    folder = write(tmp_path, {"_index.yaml": PROJECT, "work.py": WORK})
    changes = [*overrides(driver, "app:driver", folder), f"app:tasks:queue_name=tasks_{uuid4().hex[:8]}"]
    options = [f"--override={change}" for change in changes]
    async with App.load(folder, overrides=changes) as app:
        for tenant, count in TENANTS.items():
            headers = {"tenant": tenant} if tenant else {}
            await app.queue("app:tasks").publish_many([Envelope(body=n, headers=headers) for n in range(count)])
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(start("run", *options, folder=folder)).wait_for("running; stop with")
        wait_until(lambda: sum(what == "exit" for what, _ in history(folder)) >= sum(TENANTS.values()), "the handlers")
    most = most_at_once(folder)
    assert set(most) == set(TENANTS)
    assert max(most.values()) <= PLACES
    assert most["noisy"] == PLACES
    last = {tenant: max(index for index, each in enumerate(history(folder)) if each[1] == tenant) for tenant in TENANTS}
    assert max(last, key=lambda tenant: last[tenant]) == "noisy", "it holds up no other"
    limit = {"concurrency": 3, "key": "header.tenant"}
    info = run_json("info", "tasks", *options, folder=folder)
    assert (info["limit"], info["fair"]) == (limit, {"key": "header.tenant", "share": 1})
    shown = run("info", "tasks", *options, folder=folder).stdout
    assert "3 at once, for each header.tenant" in shown
    assert "in turns by header.tenant" in shown


DEAD = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite}
  - {name: other, kind: queue.driver.sqlite, path: other.db}
  - {name: state, kind: store.sqlite, driver: other}
  - {name: tasks, kind: queue.queue, driver: driver, limit: 1/h}
  - {name: dead, kind: queue.queue, driver: driver, limit: {rate: 1/h, burst: 2}}
"""
STATELESS = ("amqp", "sqs")
QUEUES = ("app:tasks", "app:dead")


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_redrive_says_what_the_limit_of_its_queue_holds_back(
    driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the workers keep the limit, it is none of theirs, and moves all."""
    for name in ("_LONG", "_LONGEST"):
        monkeypatch.setattr(by_receive, name, 0.5)
    text = DEAD.replace("driver: driver,", "driver: driver, state: state,") if driver in STATELESS else DEAD
    folder = write(tmp_path, {"_index.yaml": text})
    async with App.load(folder, overrides=[*overrides(driver, "app:driver", folder), *renamed(*QUEUES)]) as app:
        await app.queue("app:dead").publish_many(list(range(5)))
        if (moved := 2 if driver in LANES else 5) == 5:
            assert await app.dead.redrive("app:dead", to="app:tasks") == 5
        else:
            with pytest.raises(HeldBackError, match="hands out no more messages now: 2 sent back, 3 left"):
                await app.dead.redrive("app:dead", to="app:tasks")
        for queue, number in zip(QUEUES, (moved, 5 - moved), strict=True):
            assert (await app.queue(queue).depth()).ready == number


def test_a_redrive_that_a_limit_holds_back_ends_with_1(tmp_path: Path) -> None:
    folder = write(tmp_path, {"_index.yaml": DEAD.replace("{rate: 1/h, burst: 2}", "{concurrency: 1}")})
    for body in "12":
        assert run("publish", "dead", body, folder=folder).returncode == 0
    assert run_json("redrive", "dead", "--to", "tasks", "--limit", "1", folder=folder)["moved"] == 1
    text = DEAD.replace("{rate: 1/h, burst: 2}", "{rate: 1/h, burst: 1}")
    write(folder, {"_index.yaml": text})
    assert run("publish", "dead", "3", folder=folder).returncode == 0  # it declares the queue
    told = run("redrive", "dead", "--to", "tasks", folder=folder)
    assert told.returncode == 1
    assert (
        "error: the limit of queue 'app:dead' (1/h) hands out no more messages now: 1 sent back, 1 left" in told.stderr
    )


def test_a_broker_without_lanes_is_refused_with_the_remedy(tmp_path: Path) -> None:
    folder = write(tmp_path, {"_index.yaml": PROJECT, "work.py": WORK})
    told = run("check", *RABBIT, folder=folder)
    assert told.returncode == 3
    text = " ".join((told.stdout + told.stderr).split())
    assert "_index.yaml:5:" in text
    assert "queue 'app:tasks' limits by key, which driver 'app:driver' (amqp) cannot; move it to memory" in text
    assert "or drop 'key'" in text


def test_it_warns_of_what_keeps_places(tmp_path: Path) -> None:
    slow = PROJECT.replace("driver: driver, limit", "driver: driver, lease: 1m, limit")
    text = slow.replace("concurrency: 8", "prefetch: 20").replace(", key: header.tenant", "")
    told = run("check", folder=write(tmp_path, {"_index.yaml": text, "work.py": WORK}))
    assert told.returncode == 0
    shown = " ".join((told.stdout + told.stderr).split())
    assert "a killed worker keeps its places of limit for the lease, which is 1m; write lease: 15s" in shown
    assert "prefetch 20 is more than the 3 places that app:tasks has by its limit" in shown
