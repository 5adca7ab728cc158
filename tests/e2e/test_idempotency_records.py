"""idempotency in the form of the store: what the record of a key promises when something goes wrong beside it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki import App, Context
from tasuki.consumers.jobs import idempotent
from tasuki.errors import BrokerUnavailableError
from tasuki.state.records import part_of

pytestmark = pytest.mark.anyio
PATIENCE = 10.0


class Site:
    """An app in memory with the queue ``jobs``."""

    def __init__(self) -> None:
        self.app = App("memory://")
        self.dead = self.app.queue("dead")
        self.jobs = self.app.queue(
            "jobs",
            dead_letter={"queue": "dead", "max_attempts": 3},
            retry={"initial_delay": "10ms", "max_delay": "10ms"},
            result="1h",
        )

    async def store(self) -> Any:
        state = self.app._runtime.assembly.state_of("app:jobs")  # type: ignore[union-attr]
        assert state is not None
        return await state.store()

    async def idle(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while (await self.jobs.info())["message_count"]:
                await asyncio.sleep(0.01)


@pytest.fixture
def site() -> Site:
    return Site()


async def test_two_messages_of_one_id_are_not_handled_at_once(site: Site) -> None:
    """A publisher that got no confirmation sends its message again, with the same id."""
    running, most, done = 0, 0, []

    @site.jobs.consumer(idempotency="id", concurrency=4)
    async def handle(body: str, context: Context) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1
        done.append(body)

    async with site.app.worker():
        await site.jobs.publish("a", id="x")
        await site.jobs.publish("a", id="x")
        await site.idle()
    assert (most, done) == (1, ["a"])


async def test_a_message_that_comes_again_takes_its_claim_over(site: Site) -> None:
    """As its worker was killed: it has one attempt more than the claim."""
    seen: list[int] = []

    @site.jobs.consumer(idempotency="header.order")
    async def handle(body: str, context: Context) -> None:
        seen.append(context.attempt)
        if context.attempt == 1:
            await put_running(site, "x", context.message.id)  # type: ignore[union-attr]
            raise ValueError("as if the worker had died")

    async with site.app.worker():
        await site.jobs.publish("a", {"order": "x"})
        async with asyncio.timeout(PATIENCE):
            while len(seen) < 2:
                await asyncio.sleep(0.01)
        await site.idle()
    assert seen == [1, 2]


def place(key: str) -> str:
    return f"once/{part_of(f'jobs/app:handle.consumer//{key}')}"


async def put_running(site: Site, key: str, message: str) -> None:
    """Make the record another worker's, so that ours is not let go."""
    from tasuki.consumers.handling.idempotency import OnceRecord, encode

    await (await site.store()).put(place(key), encode(OnceRecord("another", message, attempt=1)), ttl=60.0)


async def test_work_is_recorded_although_its_claim_has_ended(site: Site) -> None:
    """The store was unavailable, or the handler blocked its event loop, for as long as the claim lasted."""
    seen: list[str] = []

    @site.jobs.consumer(idempotency="header.order")
    async def handle(body: str, context: Context) -> str:
        seen.append(body)
        assert await (await site.store()).delete(place("x"))
        return body

    async with site.app.worker():
        first = await site.jobs.publish("a", {"order": "x"})
        assert await first.result() == "a"
        second = await site.jobs.publish("b", {"order": "x"})
        assert await second.result() == "a"
    assert seen == ["a"]


async def test_a_result_that_no_store_takes_does_not_repeat_the_work(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    @site.jobs.consumer(idempotency="header.order")
    async def handle(body: str, context: Context) -> str:
        seen.append(body)
        return "x" * 20_000_000

    async with site.app.worker():
        await site.jobs.publish("a", {"order": "x"})
        await site.idle()
        await site.jobs.publish("b", {"order": "x"})
        await site.idle()
        assert (await site.dead.depth()).ready == 0
    assert seen == ["a"]
    assert "too large" in caplog.text or "bytes" in caplog.text


async def test_a_store_that_is_away_postpones(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an attempt: the handler has not run."""
    seen: list[int] = []

    @site.jobs.consumer(idempotency="header.order")
    async def handle(body: str, context: Context) -> None:
        seen.append(context.attempt)

    async with site.app.worker():
        store = await site.store()
        get, failures = store.get, iter(range(5))

        async def away(key: str) -> Any:
            if next(failures, None) is not None:
                raise BrokerUnavailableError("away", driver="memory")
            return await get(key)

        monkeypatch.setattr(store, "get", away)
        monkeypatch.setattr(idempotent, "POSTPONED", 0.01)
        await site.jobs.publish("a", {"order": "x"})
        await site.idle()
        assert (await site.dead.depth()).ready == 0
    assert seen == [1]
