"""Handlers in one transaction with their acks, while workers are killed or frozen: each effect and message once."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tasuki import App
from tasuki.queues.queue import Envelope
from tests.faults.freezing import FREEZES, TRIES, freeze_one
from tests.faults.test_cancel import Workers
from tests.support.brokers.everywhere import overrides

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(3600)]

IS_CAMPAIGN = bool(os.environ.get("CAMPAIGN"))
KILLS = 200 if IS_CAMPAIGN else 6
WORKERS, EACH = 3, 30

HANDLER = """
import asyncio, json, os, random, time
from tasuki import Context, Message

history = os.open(os.environ["HISTORY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
table, mark = os.environ["TABLE"], os.environ["MARK"]

async def handle(body: str, message: Message, context: Context) -> None:
    # One write a line, before going on: what stands here has happened, whatever kills the process.
    os.write(history, json.dumps([body, time.monotonic(), os.getpid()]).encode() + b"\\n")
    await asyncio.sleep(random.uniform(0, 0.01))
    async with context.transaction() as tx:
        done = tx.connection.execute(f"INSERT INTO {table} VALUES ({mark})", *([body] if mark == "$1" else [(body,)]))
        if mark == "$1":
            await done
            await asyncio.sleep(random.uniform(0, 0.01))
        await tx.publish("after", body)
    await asyncio.sleep(random.uniform(0, 0.005))
"""

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.memory}
  - {name: tasks, kind: queue.queue, driver: driver, lease: 3s, dead_letter: {queue: dead, max_attempts: 100}}
  - {name: after, kind: queue.queue, driver: driver}
  - {name: dead, kind: queue.queue, driver: driver}
  - {name: handler, kind: function.python, source: "file://handler.py", method: handle}
  - {name: consumer, kind: queue.consumer, queue: tasks, func: handler, concurrency: 2, prefetch: 10,
     lifecycle: {auto_start: true}}
"""


class Site:
    """The project on a broker, with its table of effects."""

    def __init__(self, driver: str, folder: Path, *, has_keys: bool) -> None:
        name = uuid4().hex[:8]
        self.table = f"effects_{name}"
        self.is_postgres = driver == "postgres"
        (folder / "handler.py").write_text(HANDLER)
        (folder / "_index.yaml").write_text(PROJECT)
        changes = overrides(driver, "app:driver", folder)
        changes += [f"app:{queue}:queue_name={queue}_{name}" for queue in ("tasks", "after", "dead")]
        if has_keys:
            changes.append("app:consumer:idempotency=header.order")
        os.environ.update(TABLE=self.table, MARK="$1" if self.is_postgres else "?")
        self.workers = Workers(folder, changes)
        self.app = App.load(folder, overrides=changes)

    async def execute(self, sql: str) -> list[Any]:
        async with self.app._runtime.queue("app:tasks").driver.transaction() as connection:
            if self.is_postgres:
                return list(await connection.fetch(sql))
            return list(connection.execute(sql))

    async def drained(self, queue: str) -> list[str]:
        live = self.app._runtime.queue(queue)
        found: list[str] = []
        while got := await live.driver.receive(live.spec.name, 1000, 0.5):
            found += [live.decode(message) for message in got]
        return found


@asynccontextmanager
async def opened(driver: str, folder: Path, *, has_keys: bool) -> AsyncIterator[Site]:
    site = Site(driver, folder, has_keys=has_keys)
    try:
        async with site.app:
            await site.execute(f"CREATE TABLE {site.table} (what text)")
            yield site
    finally:
        site.workers.close()


@pytest.mark.parametrize("fault", ["killed", "frozen"])
@pytest.mark.parametrize("has_keys", [False, True], ids=["messages", "keys"])
@pytest.mark.parametrize("driver", ["sqlite", "postgres"])
async def test_each_effect_happens_once(driver: str, has_keys: bool, fault: str, tmp_path: Path) -> None:
    """With keys, each is published twice, and its second message has no effect of its own."""
    async with opened(driver, tmp_path, has_keys=has_keys) as site:
        tasks, published, strikes, freezes = site.app.queue("app:tasks"), 0, 0, 0
        for _ in range(WORKERS):
            site.workers.start()
        while strikes < KILLS if fault == "killed" else freezes < FREEZES:
            bodies = [f"{number}" for number in range(published, published + EACH)]
            twice = [Envelope(body=body, headers={"order": body}) for body in bodies for _ in range(1 + has_keys)]
            for result in await site.app._runtime.queue("app:tasks").publish_many(twice):
                assert result.id
            published += EACH
            async with asyncio.timeout(60):
                while len(site.workers.starts()) < published - random.randrange(EACH):
                    await asyncio.sleep(0.01)
            strikes += 1
            if fault == "killed":
                site.workers.kill(random.choice(site.workers.running))
                site.workers.start()
            else:
                freezes += await freeze_one(site.workers, lambda start: start.id)
                assert strikes < TRIES, "no other worker goes on"
        async with asyncio.timeout(180):
            while (await tasks.info())["message_count"]:
                await asyncio.sleep(0.05)
        assert not (await site.app.queue("app:dead").depth()).ready
        effects = Counter(row[0] for row in await site.execute(f"SELECT what FROM {site.table}"))
        follow_ups = Counter(await site.drained("app:after"))
        runs = len(site.workers.starts())
    wanted = dict.fromkeys((f"{number}" for number in range(published)), 1)
    assert effects == wanted
    assert follow_ups == wanted
    print(f"{driver}: {strikes} {fault}, {published} effects once, {runs - published} runs repeated")
