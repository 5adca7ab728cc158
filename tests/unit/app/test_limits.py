"""Limits and turns of an application, on the memory driver, in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tasuki import App, Envelope
from tasuki.contracts.handler import Context
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.queues.policy import limit_text
from tests.support.narrow import present
from tests.unit.app.project import DONE, Yaml, reload
from tests.unit.app.pulse import document, pulsing

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

Make = Callable[..., App]


class Record:
    """Who runs, when each started, and the most at once."""

    def __init__(self, takes: float = 1.0) -> None:
        self.takes = takes
        self.running: Counter[Any] = Counter()
        self.most: Counter[Any] = Counter()
        self.order: list[Any] = []
        self.at: list[float] = []

    async def __call__(self, body: Any, context: Context) -> None:
        tenant = present(context.message).headers.get("tenant", "")
        self.order.append(tenant)
        self.at.append(asyncio.get_running_loop().time())
        for who in (tenant, "all"):
            self.running[who] += 1
            self.most[who] = max(self.most[who], self.running[who])
        await asyncio.sleep(self.takes)
        self.running.subtract([tenant, "all"])


def recorded(app: App, name: str = "tasks", takes: float = 1.0, **fields: Any) -> Record:
    """A queue with a consumer of twenty workers."""
    record = Record(takes)

    async def handle(body: Any, context: Context) -> None:
        await record(body, context)

    handle.__name__ = f"handle_{name}"
    app.queue(name, **fields).consumer(concurrency=20)(handle)
    return record


def of(tenant: str, count: int) -> list[Envelope[int]]:
    return [Envelope(body=number, headers={"tenant": tenant}) for number in range(count)]


async def empty(app: App, name: str = "tasks") -> None:
    async with asyncio.timeout(600):
        while (await app.queue(name).info())["message_count"]:
            await asyncio.sleep(0.1)


async def test_three_at_once_for_each_tenant(make_app: Make) -> None:
    app = make_app()
    record = recorded(app, limit={"concurrency": 3, "key": "header.tenant"})
    async with app.worker():
        start = asyncio.get_running_loop().time()
        await app.queue("tasks").publish_many([*of("noisy", 30), *of("a", 2), *of("b", 3), 1])
        await empty(app)
        took = asyncio.get_running_loop().time() - start
    assert {who: most for who, most in record.most.items() if who != "all"} == {"noisy": 3, "a": 2, "b": 3, "": 1}
    assert record.most["all"] == 9
    assert 10 <= took < 11, "30 messages, three at once"
    waited = {tenant: record.at[record.order.index(tenant)] - start for tenant in ("a", "b", "")}
    assert max(waited.values()) < 0.5, "no other tenant waits behind the noisy one"


async def test_what_slow_handlers_held_up_does_not_start_at_once(make_app: Make) -> None:
    app = make_app()
    started: list[float] = []
    tasks = app.queue("tasks", limit={"rate": "1/s"})

    @tasks.consumer
    async def handle(body: int) -> None:
        started.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.0 if body else 20.0)

    async with app.worker():
        await tasks.publish_many(list(range(15)))
        await empty(app)
    assert min(after - before for before, after in pairwise(started)) > 0.99


async def test_tenants_in_turn(make_app: Make) -> None:
    app = make_app()
    record = Record(0.01)
    tasks = app.queue("tasks", fair="header.tenant")

    @tasks.consumer(prefetch=1)
    async def handle(body: Any, context: Context) -> None:
        await record(body, context)

    async with app.worker():
        await app.workers.pause("tasks")
        await tasks.publish_many([*of("noisy", 50), *of("a", 3), *of("b", 3)])
        await app.workers.resume("tasks")
        await empty(app)
    assert max(index for index, tenant in enumerate(record.order) if tenant in ("a", "b")) < 12


async def test_a_limit_holds_for_shared_workers(make_app: Make) -> None:
    app = make_app()
    limited, other = recorded(app, "limited", limit={"concurrency": 2}), recorded(app, "other")
    app.workers.pool("pool", ["limited", "other"], concurrency=5)
    async with app.worker():
        await app.queue("limited").publish_many(list(range(10)))
        await app.queue("other").publish_many(list(range(10)))
        await empty(app, "limited")
        await empty(app, "other")
    assert limited.most["all"] == 2
    assert other.most["all"] >= 3, "places that the limit leaves free are for the others"


async def test_a_dead_letter_and_a_redrive_find_their_lane(make_app: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    dead = app.queue("dead", fair="body.user")
    tasks = app.queue(
        "tasks", limit={"rate": 100, "key": "header.tenant"}, dead_letter={"queue": dead, "max_attempts": 1}
    )
    lanes: list[tuple[str, str]] = []
    publish = MemoryDriver.publish

    async def published(self: MemoryDriver, queue: str, batch: Any) -> Any:
        lanes.extend((queue, message.lane) for message in batch)
        return await publish(self, queue, batch)

    transfer = MemoryDriver.transfer

    async def transferred(self: MemoryDriver, queue: str, batch: Any) -> Any:
        lanes.extend((each.to, each.message.lane) for each in batch)
        return await transfer(self, queue, batch)

    monkeypatch.setattr(MemoryDriver, "publish", published)
    monkeypatch.setattr(MemoryDriver, "transfer", transferred)

    @tasks.consumer
    async def fail(body: Any) -> None:
        raise ValueError

    async with app.worker():
        await tasks.publish({"user": 7}, {"tenant": "a"})
        await asyncio.sleep(5)
        await app.dead.redrive("dead")
        await asyncio.sleep(5)
    assert lanes == [("tasks", "a"), ("dead", "7"), ("tasks", "a"), ("dead", "7")]


async def test_a_redrive_moves_no_faster_than_the_limit_of_its_source(make_app: Make) -> None:
    app = make_app()
    app.queue("dead", limit={"rate": "10/s", "burst": 5})
    app.queue("tasks")
    async with app:
        await app.queue("dead").publish_many(list(range(25)))
        start = asyncio.get_running_loop().time()
        assert await app.dead.redrive("dead", to="tasks") == 25
        assert 1.9 < asyncio.get_running_loop().time() - start < 3.0
        assert (await app.queue("tasks").info())["ready"] == 25


async def test_info_says_what_limits_a_queue(make_app: Make) -> None:
    app = make_app()
    app.queue("plain")
    app.queue("both", limit={"rate": "10/s", "concurrency": 3, "key": "header.tenant"})
    app.queue("turns", limit="5/s", fair={"key": "key", "share": 4})
    app.queue("two", limit=["5/s", {"concurrency": 3, "key": "header.tenant"}])
    async with app.worker():
        told = [await app.queue(name).info() for name in ("plain", "both", "turns", "two")]
    tenant = {"rate": 10.0, "burst": 1, "concurrency": 3, "key": "header.tenant"}
    assert [(info.get("limit"), info.get("fair")) for info in told] == [
        (None, None),
        (tenant, {"key": "header.tenant", "share": 1}),
        ({"rate": 5.0, "burst": 1}, {"key": "key", "share": 4}),
        (
            [{"rate": 5.0, "burst": 1}, {"concurrency": 3, "key": "header.tenant"}],
            {"key": "header.tenant", "share": 1},
        ),
    ]
    assert [limit_text(info["limit"]) for info in told if "limit" in info] == [
        "10/s, 3 at once, for each header.tenant",
        "5/s",
        "5/s; 3 at once, for each header.tenant",
    ]


SLOW = """
import asyncio
from tests.unit.app.project import DONE

async def handle(body):
    DONE.append(1)
    await asyncio.sleep(1)
    DONE.pop()
"""


async def test_a_changed_limit_holds_after_a_reload(yaml: Yaml) -> None:
    yaml.source(SLOW)
    yaml.more = "{name: second, kind: queue.consumer, queue: tasks, func: handle, concurrency: 20"
    yaml.more += ", lifecycle: {auto_start: true}}"
    yaml.queue = "limit: {concurrency: 2}"
    yaml.write()
    app = App.load(yaml.folder)
    async with app.worker():
        await app.queue("app:tasks").publish_many(list(range(100)))
        for queue, running in (("", 2), ("limit: {concurrency: 5}", 5), ("lease: 15s", 21)):
            if queue:
                yaml.queue = queue
                await reload(app, yaml)
            most = 0
            for tenth in range(25):
                await asyncio.sleep(0.1)
                most = max(most, len(DONE)) if tenth > 10 else 0
            assert most == running
        await app.queue("app:tasks").purge()


async def test_a_limited_queue_is_not_stuck(make_app: Make, tmp_path: Any) -> None:
    app = make_app()
    tasks = app.queue("tasks", limit="1/h")

    @tasks.consumer
    async def handle(body: Any) -> None: ...

    async with pulsing(app, tmp_path / "alive"):
        await tasks.publish_many([1, 2, 3])
        await asyncio.sleep(600)
        assert document(tmp_path / "alive")["live"]
