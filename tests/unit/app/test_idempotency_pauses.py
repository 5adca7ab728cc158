"""The key of a message that sleeps or waits: it keeps the key, also over deaths of its worker, until it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tasuki import App, Context, QueueHandle
from tasuki.consumers.handling.idempotency import ONCE, decode
from tests.unit.app.stores import store_of

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True
HOUR = 3600.0


class Site:
    """A queue whose handler pauses as the body says; what it has done, by the time and the body."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.done: list[tuple[str, int]] = []
        self.deliveries = 0
        self.jobs: QueueHandle[Any] = app.queue("jobs", result="30d", dead_letter={"queue": "dead"})
        app.queue("dead")

        @self.jobs.consumer(idempotency={"key": "header.order", "ttl": "30d"}, concurrency=3)
        async def handle(body: dict[str, Any], context: Context) -> str:
            self.deliveries += 1
            self.done.append((f"begins {body['name']}", self.now()))
            for hours in body.get("sleeps", ()):
                await context.sleep(hours * HOUR)
            if "waits" in body:
                await context.wait_for("go", body["name"], body["waits"] * HOUR, default=None)
            if body.get("fails") and context.attempt == 1:
                raise ValueError("boom")
            self.done.append((f"ends {body['name']}", self.now()))
            return str(body["name"])

    def now(self) -> int:
        return round(asyncio.get_running_loop().time() / HOUR)

    async def publish(self, name: str, **body: Any) -> Any:
        return await self.jobs.publish({"name": name, **body}, {"order": "x"})

    async def records(self) -> list[Any]:
        return [decode(each.value) for each in (await (await store_of(self.app)).list(ONCE)).entries]


@pytest.fixture
def site(make_app: Callable[..., App]) -> Site:
    return Site(make_app())


async def test_a_second_message_does_not_begin_beside_a_sleep(site: Site) -> None:
    async with site.app.worker():
        began = site.now()
        first = await site.publish("a", sleeps=[2, 3])
        await asyncio.sleep(60)
        second = await site.publish("b")
        assert await first.result("10h") == await second.result("1h") == "a"
    assert [name for name, _ in site.done] == ["begins a"] * 3 + ["ends a"]
    assert site.done[-1][1] - began == 5


async def test_a_wait_keeps_the_key_and_a_signal_ends_it(site: Site) -> None:
    async with site.app.worker():
        await site.publish("a", waits=30)
        await asyncio.sleep(HOUR)
        second = await site.publish("b")
        await asyncio.sleep(HOUR)
        assert "begins b" not in dict(site.done)
        await site.app.signal("go", "a")
        assert await second.result("2m") == "a", "asks again within a minute"
    assert "begins b" not in dict(site.done)


async def test_a_message_that_waits_for_a_key_asks_once_a_minute(
    site: Site,
) -> None:
    async with site.app.worker():
        await site.publish("a", sleeps=[1])
        await asyncio.sleep(10)
        consumer = next(iter(site.app._runtime.live().consumers.values()))
        before = consumer.metrics.delivered
        await site.publish("b")
        await asyncio.sleep(3000)
        asked = consumer.metrics.delivered - before
    assert 49 <= asked <= 52


async def test_after_a_failure_behind_a_sleep_the_key_is_free(site: Site) -> None:
    async with site.app.worker():
        first = await site.publish("a", sleeps=[1], fails=True)
        assert await first.result("2h") == "a"
        (record,) = await site.records()
        assert record.is_done


async def test_a_cancelled_sleeper_keeps_its_key_until_its_sleep_would_have_ended(site: Site) -> None:
    async with site.app.worker():
        first = await site.publish("a", sleeps=[1])
        await asyncio.sleep(10)
        assert await site.app.jobs.cancel(first.id, queue=site.jobs) == "waiting"
        second = await site.publish("b")
        await asyncio.sleep(HOUR - 60)
        assert "begins b" not in dict(site.done)
        assert await second.result("1h") == "b"


async def test_only_its_own_message_takes_over_the_key_of_a_sleep(site: Site) -> None:
    async with site.app.worker():
        first = await site.publish("a", sleeps=[1])
        await asyncio.sleep(10)
        (record,) = await site.records()
        assert (record.message, record.is_done) == (first.id, False)
        assert record.is_held_for(first.id, 1)
        assert not record.is_held_for("another", 2)
        assert await first.result("2h") == "a"
