"""A silent process keeps its deliveries for their leases, unless its connection to the server is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tasuki.contracts.driver import SILENCE, Ack, QueueSpec
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.testing.proxy import Proxy
from tests.support.brokers.rig import SECONDS, messages, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(120)]

Make = Callable[..., Awaitable[PostgresDriver]]
SPEC = QueueSpec("q", lease=300.0)
FAIR = QueueSpec("q", lease=300.0, fair=1)
KEYED = QueueSpec("q", lease=300.0, ordering="key")


@pytest.mark.parametrize("spec", [SPEC, FAIR, KEYED], ids=["plain", "lanes", "keys"])
async def test_a_silent_process_keeps_its_message_until_its_connection_is_gone(
    make: Make, url: str, proxy: Proxy, schema: str, spec: QueueSpec
) -> None:
    holder = await make(spec=spec)
    judge = await make(spec=spec, url=url)
    admin = await asyncpg.connect(url)
    connected = f"SELECT count(*) FROM {schema}.holders h WHERE {schema}.is_connected(h)"
    stood = f"SELECT max(clock_timestamp() - started) FROM {schema}.holders h WHERE {schema}.is_connected(h)"
    try:

        async def both_are_connected() -> bool:
            return bool(await admin.fetchval(connected) == 2)

        await until(both_are_connected, "both listen")
        await judge.publish("q", messages("a", key="k", lane="l"))
        (held,) = await holder.receive("q", 1, SECONDS)
        # As if it had been silent for long.
        await admin.execute(f"UPDATE {schema}.messages SET due = clock_timestamp() + interval '200 seconds'")
        assert await judge.receive("q", 1, SILENCE + 3.0) == [], "its connection stands"
        proxy.refuse()
        (got,) = await judge.receive("q", 1, SECONDS)
        assert (got.id, got.suspect, got.attempt) == (held.id, True, 1)
        assert (await admin.fetchval(stood)).total_seconds() >= SILENCE
    finally:
        await admin.close()


async def test_a_process_that_has_just_connected_does_not_judge(
    make: Make, url: str, proxy: Proxy, schema: str
) -> None:
    holder = await make(spec=SPEC)
    admin = await asyncpg.connect(url)
    try:

        async def is_connected() -> bool:
            return bool(await admin.fetchval(f"SELECT count(*) FROM {schema}.holders h WHERE {schema}.is_connected(h)"))

        async def is_gone() -> bool:
            return not await is_connected()

        await until(is_connected, "it listens")
        await holder.publish("q", messages("a"))
        assert await holder.receive("q", 1, SECONDS)
        await admin.execute(f"UPDATE {schema}.messages SET due = clock_timestamp() + interval '200 seconds'")
        proxy.refuse()
        await until(is_gone, "its end")
        judge = await make(spec=SPEC, url=url)
        assert len(await judge.receive("q", 1, SECONDS)) == 1
        stood = f"SELECT max(clock_timestamp() - started) FROM {schema}.holders h WHERE {schema}.is_connected(h)"
        assert (await admin.fetchval(stood)).total_seconds() >= SILENCE
    finally:
        await admin.close()


async def test_a_renewed_message_stays_though_its_process_has_no_connection(
    make: Make, url: str, proxy: Proxy, schema: str
) -> None:
    holder = await make(spec=SPEC)
    judge = await make(spec=SPEC, url=url)
    admin = await asyncpg.connect(url)
    try:
        await judge.publish("q", messages("a"))
        (held,) = await holder.receive("q", 1, SECONDS)
        proxy.refuse()
        waiting = judge.receive("q", 1, SILENCE - 2.0)  # as long as one renewal keeps it
        await admin.execute(f"UPDATE {schema}.messages SET due = clock_timestamp() + interval '300 seconds'")
        assert await waiting == []
        assert held.id == "a"
    finally:
        await admin.close()


@pytest.mark.parametrize("renewed_for", [300.0, 200.0], ids=["silent", "renewed for a shorter lease"])
async def test_a_living_process_that_loses_its_connection_keeps_its_message(
    make: Make, url: str, proxy: Proxy, schema: str, renewed_for: float
) -> None:
    holder = await make(spec=SPEC)
    judge = await make(spec=SPEC, url=url)
    admin = await asyncpg.connect(url)
    try:
        await judge.publish("q", messages("a"))
        (held,) = await holder.receive("q", 1, SECONDS)
        assert await judge.receive("q", 1, SILENCE + 1.0) == []
        for _ in range(4):
            if renewed_for == SPEC.lease:
                await admin.execute(f"UPDATE {schema}.messages SET due = clock_timestamp() + interval '200 seconds'")
            else:
                assert not await holder.extend("q", [held.receipt], renewed_for)
            proxy.refuse()
            assert await judge.receive("q", 1, 0.3) == []
            proxy.serve()
            assert await judge.receive("q", 1, 0.7) == []
        assert not await holder.settle("q", [Ack(held.receipt)])
    finally:
        await admin.close()


@pytest.mark.parametrize("spec", [SPEC, FAIR], ids=["plain", "lanes"])
async def test_a_death_is_seen_in_a_busy_queue(
    make: Make, url: str, proxy: Proxy, schema: str, spec: QueueSpec
) -> None:
    holder = await make(spec=spec)
    judge = await make(spec=spec, url=url)
    admin = await asyncpg.connect(url)
    loop = asyncio.get_running_loop()
    try:
        await judge.publish("q", messages("a", lane="l"))
        assert len(await holder.receive("q", 1, SECONDS)) == 1
        assert await judge.receive("q", 1, SILENCE + 1.0) == []
        await admin.execute(f"UPDATE {schema}.messages SET due = clock_timestamp() + interval '200 seconds'")
        await judge.publish("q", messages("b", lane="l"))
        proxy.refuse()
        ends_at, number = loop.time() + SECONDS, 0
        while loop.time() < ends_at:
            number += 1
            await judge.publish("q", messages(f"b{number}", lane="l"))  # so that one more is always ready
            (got,) = await judge.receive("q", 1, SECONDS)
            assert not await judge.settle("q", [Ack(got.receipt)])
            if got.id == "a":
                return
        pytest.fail("its death was not seen")
    finally:
        await admin.close()
