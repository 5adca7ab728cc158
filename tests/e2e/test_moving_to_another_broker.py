"""The documented move of waiting messages to another broker: ``tasuki redrive OLD --to NEW``."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.contracts.driver import Nack, Outgoing, Received, Waiting
from tasuki.message import DUE
from tasuki.queues.dead_letter import counted
from tasuki.queues.queue import Queue
from tests.e2e.projects import write
from tests.e2e.test_every_driver import renamed
from tests.support.brokers.everywhere import overrides
from tests.support.process import run_json

pytestmark = pytest.mark.anyio

HOUR = 3600.0
PROJECT = {
    "_index.yaml": """\
version: "1.0"
namespace: app
entries:
  - {name: old_driver, kind: queue.driver.sqlite}
  - {name: new_driver, kind: queue.driver.sqlite}
  - {name: old_tasks, kind: queue.queue, driver: old_driver, requires: [priority], on_expire: drop}
  - {name: tasks, kind: queue.queue, driver: new_driver, requires: [priority], on_expire: drop}
""",
}


def load(folder: Path, old: str, new: str) -> tuple[App, list[str]]:
    (folder / "old").mkdir()
    options = overrides(old, "app:old_driver", folder / "old") + overrides(new, "app:new_driver", folder)
    options += renamed("app:old_tasks", "app:tasks")
    return App.load(write(folder, PROJECT), overrides=options), options


async def fill(queue: Queue, *, soon: float) -> None:
    """One message of each sort: delayed ones, retries that wait, and ready ones with all that a publisher can give."""
    driver, name = queue.driver, queue.spec.name
    await queue.publish(1, id="retry", headers={"tenant": "acme"})
    await queue.publish(1, id="again")
    for failures in range(2):
        received = {each.id: each for each in await driver.receive(name, 10, 5.0)}
        delay = HOUR if failures else 0.0
        await driver.settle(name, [Nack(received["retry"].receipt, delay, "no"), Nack(received["again"].receipt)])
    await queue.publish(1, id="delayed", delay=HOUR)
    await queue.publish(1, id="soon", delay=soon)
    await queue.publish(1, id="plain", ttl=HOUR, key="k")
    await queue.publish(1, id="urgent", priority=9)
    letter: dict[str, Any] = {
        "x_original_queue": "app:x",
        "x_dead_letter_reason": "rejected",
        "x_dead_letter_time": 1.0,
        "attempts": 4,
    }
    assert not any(await queue.forward([Outgoing("letter", b"1", dict(letter))]))


def move(folder: Path, options: list[str], how: str) -> int:
    """By the command, or by the application's own call; returns how many."""
    if how == "command":
        given = [part for option in options for part in ("-o", option)]
        moved: int = run_json("redrive", "old_tasks", "--to", "tasks", "--rate", "0", *given, folder=folder)["moved"]
        return moved

    async def call() -> int:
        app = App.load(folder, overrides=options)
        async with app:
            return await app.dead.redrive("old_tasks", to="tasks")

    return asyncio.run(call())


@pytest.mark.parametrize("how", ["command", "call"])
async def test_delays_attempts_keys_priorities_and_ttl_go_from_sqlite_to_postgresql(tmp_path: Path, how: str) -> None:
    app, options = load(tmp_path, "sqlite", "postgres")
    async with app:
        await fill(app._runtime.queue("old_tasks"), soon=2 * HOUR)
    assert await asyncio.to_thread(move, tmp_path, options, how) == 7
    async with app:
        old, new = app._runtime.queue("old_tasks"), app._runtime.queue("tasks")
        assert (await old.depth()).ready + ((await old.depth()).delayed or 0) == 0
        shown = {each.id: each for each in await new.peek(20) if isinstance(each, Waiting)}
        first = await new.driver.receive(new.spec.name, 10, 5.0)
    assert {id: round(each.delay / HOUR) for id, each in shown.items() if each.delay} == {
        "retry": 1, "delayed": 1, "soon": 2,
    }  # fmt: skip
    received = {each.id: counted(each) for each in first}
    assert first[0].id == "urgent"
    assert {id: each.attempt for id, each in received.items()} == {"again": 3, "plain": 1, "urgent": 1, "letter": 1}
    assert shown["retry"].headers["x_failures"] == 2
    assert shown["retry"].headers["tenant"] == "acme"
    plain = received["plain"].headers
    assert (plain["partition_key"], plain["x_expires_at"] > time.time()) == ("k", True)  # type: ignore[operator]
    assert received["letter"].headers["x_redriven"] == 1
    assert "x_redriven" not in received["again"].headers


@pytest.mark.parametrize("how", ["command", "call"])
async def test_delays_attempts_keys_and_priorities_go_from_redis_to_rabbitmq(tmp_path: Path, how: str) -> None:
    """RabbitMQ shows no messages: the ones that are due in an hour do not come, the others come at their time."""
    app, options = load(tmp_path, "redis", "amqp")
    async with app:
        await fill(app._runtime.queue("old_tasks"), soon=3.0)
    assert await asyncio.to_thread(move, tmp_path, options, how) == 7
    came: list[Received] = []
    async with app:
        new = app._runtime.queue("tasks")
        async with asyncio.timeout(60):
            while not any(each.id == "soon" for each in came):
                came += await new.driver.receive(new.spec.name, 10, 1.0)
        arrived = time.time()
    received: dict[str, Any] = {each.id: counted(each) for each in came}
    assert {id: each.attempt for id, each in received.items()} == {
        "again": 3, "plain": 1, "urgent": 1, "letter": 1, "soon": 1,
    }  # fmt: skip
    assert arrived >= received["soon"].headers[DUE]
    assert received["plain"].headers["partition_key"] == "k"
    assert came[0].id == "urgent"
