"""A silent process keeps its deliveries for their leases, unless its subscription at the server is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tasuki.contracts.driver import QueueSpec, Received
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.drivers.redis.receiving import receiving
from tasuki.testing.proxy import Proxy
from tests.faults.redis.rig import driver_at
from tests.support.brokers.redis import Redis
from tests.support.brokers.rig import SECONDS, messages, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(120)]

SILENCE = 1.0
SPEC = QueueSpec("q", lease=300.0)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "SILENCE", SILENCE)


@asynccontextmanager
async def held_by_another(broker: Redis, proxy: Proxy) -> AsyncIterator[tuple[RedisDriver, RedisDriver, Received]]:
    """A driver behind the proxy that holds a message, and another one that looks for it."""
    async with driver_at(proxy.port, spec=SPEC) as holder, driver_at(broker.port, spec=SPEC) as judge:
        await holder.publish("q", messages("a"))
        (held,) = await holder.receive("q", 1, SECONDS)
        yield holder, judge, held
        proxy.serve()


async def test_a_silent_process_keeps_its_message_until_its_connection_is_gone(broker: Redis, proxy: Proxy) -> None:
    async with held_by_another(broker, proxy) as (_, judge, held):
        assert await judge.receive("q", 1, 4 * SILENCE) == []
        proxy.refuse()
        (got,) = await judge.receive("q", 1, SECONDS)
        assert (got.id, got.suspect, got.attempt) == (held.id, True, 1)


async def test_a_process_that_has_just_subscribed_does_not_judge(broker: Redis, proxy: Proxy) -> None:
    async with held_by_another(broker, proxy) as (_, judge, _held):
        await asyncio.sleep(SILENCE)
        proxy.refuse()
        where = judge._session.place("q")
        assert judge._receiver.listener.heard_for(where) is None
        assert len(await judge.receive("q", 1, SECONDS)) == 1
        heard_for = judge._receiver.listener.heard_for(where)
        assert heard_for is not None
        assert heard_for >= SILENCE


async def test_a_renewed_message_stays_though_its_process_has_no_subscription(broker: Redis, proxy: Proxy) -> None:
    async with held_by_another(broker, proxy) as (holder, judge, held):
        holder._receiver.listener.close()
        waiting = asyncio.create_task(judge.receive("q", 1, SECONDS))
        for _ in range(20):
            assert not await asyncio.wait_for(holder.extend("q", [held.receipt], SPEC.lease), SECONDS)
            assert not (await asyncio.wait([waiting], timeout=SILENCE / 5))[0]
        assert len(await waiting) == 1


async def test_a_renewal_after_a_lost_connection_subscribes_again(broker: Redis, proxy: Proxy) -> None:
    async with held_by_another(broker, proxy) as (holder, _judge, held):
        where = holder._session.place("q")
        assert holder._receiver.listener.hears(where)
        proxy.cut()

        async def hears() -> bool:
            await holder.extend("q", [held.receipt], SPEC.lease)
            return holder._receiver.listener.hears(where)

        async def has_lost() -> bool:
            return not holder._receiver.listener.hears(where)

        await until(has_lost, "the loss of the connection")
        await until(hears, "it hears again")


async def test_a_process_without_a_subscription_when_it_received_is_not_judged(broker: Redis, proxy: Proxy) -> None:
    async with driver_at(proxy.port, spec=SPEC) as holder, driver_at(broker.port, spec=SPEC) as judge:
        await holder.publish("q", messages("a"))
        assert len(await holder.receive("q", 1, 0.0)) == 1
        proxy.refuse()
        assert await judge.receive("q", 1, 4 * SILENCE) == []
        proxy.serve()
