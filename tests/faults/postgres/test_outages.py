"""PostgreSQL is frozen and cut off; the listener is cut off; no message is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, QueueSpec
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.errors import BrokerUnavailableError, DriverError
from tasuki.testing.proxy import Proxy
from tests.faults.postgres.load import PATIENCE, Load, eventually, hears, message
from tests.support.brokers.postgres import Postgres

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_all_sessions_are_ended_again_and_again(make: Callable[..., Any], sql: asyncpg.Connection) -> None:
    """In storms too, in the middle of connecting and of answers, of which the client says all sorts of things."""
    load = Load(await make())
    async with load.running():
        for _ in range(10):
            await load.some()
            for _ in range(20):
                await sql.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
                await asyncio.sleep(0)
    load.check()


async def test_connections_are_reset_again_and_again(proxy: Proxy, make: Callable[..., Any]) -> None:
    load = Load(await make())
    async with load.running():
        for _ in range(10):
            await load.some()
            proxy.cut()
    load.check()


async def test_a_frozen_server_is_given_up_and_found_again(server: Postgres, make: Callable[..., Any]) -> None:
    driver = await make(timeout=1.0, connect_timeout=1.0)
    await driver.publish("q", [message("before")])
    server.freeze()
    try:
        began = time.monotonic()
        with pytest.raises(DriverError) as raised:
            await driver.publish("q", [message("doubtful")])
        assert raised.value.retryable
        outcome = raised.value.outcome
        for verb in (driver.receive("q", 1, 0.0), driver.depth("q"), driver.settle("q", [Ack((1, 1))])):
            with pytest.raises(DriverError) as raised:
                await verb
            assert raised.value.retryable
        assert time.monotonic() - began < PATIENCE
    finally:
        server.thaw()
    await eventually(lambda: driver.depth("q"), "the server")
    stored = [item.id for item in await driver.receive("q", 10, PATIENCE)]
    stored += [item.id for item in await driver.receive("q", 10, 0.5)]
    assert "before" in stored
    # Where no connection was free, there was none to send it on: it is rejected, and must not be stored.
    assert outcome == "unknown" or "doubtful" not in stored


async def test_closing_while_the_server_is_frozen_ends(server: Postgres, make: Callable[..., Any]) -> None:
    driver = await make(timeout=1.0, connect_timeout=1.0)
    await driver.publish("q", [message()])
    await driver.receive("q", 1, 5.0)
    waiting = asyncio.create_task(driver.receive("q", 1, 60.0))
    await asyncio.sleep(0.05)
    server.freeze()
    try:
        async with asyncio.timeout(PATIENCE):
            await driver.close()
            answer = (await asyncio.gather(waiting, return_exceptions=True))[0]
            assert answer == [] or isinstance(answer, BrokerUnavailableError)
    finally:
        server.thaw()


async def test_a_lost_reply_is_an_unknown_outcome(proxy: Proxy, make: Callable[..., Any]) -> None:
    driver = await make(spec=QueueSpec("q", dedup_window=60.0))
    await driver.publish("q", [message("first")])
    proxy.delay = 0.5
    publishing = asyncio.create_task(driver.publish("q", [message("second")]))
    await asyncio.sleep(0.7)  # the request has passed, the reply is still on its way
    proxy.cut()
    proxy.delay = 0.0
    with pytest.raises(BrokerUnavailableError) as raised:
        await publishing
    assert raised.value.outcome == "unknown"
    await driver.publish("q", [message("second")])
    assert sorted(item.id for item in await driver.receive("q", 10, 5.0)) == ["first", "second"]


async def test_an_extend_survives_a_cut(proxy: Proxy, make: Callable[..., Any]) -> None:
    driver = await make()
    await driver.publish("q", [message()])
    (held,) = await driver.receive("q", 1, 5.0)

    def extend() -> Any:
        return asyncio.run(_extend())

    async def _extend() -> Any:
        return await driver.extend("q", [held.receipt], 5.0)

    assert await asyncio.to_thread(extend) == []
    proxy.cut()
    assert await eventually(lambda: _is_empty_list(asyncio.to_thread(extend)), "a lease")


async def _is_empty_list(answer: Awaitable[Any]) -> bool:
    return bool((await answer) == [])


async def test_a_lost_notification_only_costs_the_poll_interval(proxy: Proxy, make: Callable[..., Any]) -> None:
    driver, other = await make(poll_interval=0.3), await make()
    waiting = asyncio.create_task(driver.receive("q", 1, PATIENCE))
    await asyncio.sleep(0.1)
    assert driver._guard.current is not None
    assert driver._guard.current._listener is not None
    await driver._guard.current._listener.close()
    await other.publish("q", [message()])
    assert len(await waiting) == 1


async def test_the_listener_comes_back(proxy: Proxy, make: Callable[..., Any]) -> None:
    driver, other = await make(poll_interval=60.0), await make()
    await driver.receive("q", 1, 0.01)
    await eventually(lambda: hears(driver), "a listener")
    proxy.cut()
    await eventually(lambda: _is_deaf(driver), "the end of the connection")
    await eventually(lambda: hears(driver), "a new listener")
    await eventually(lambda: other.depth("q"), "the other driver")
    await eventually(lambda: driver.depth("q"), "the driver")
    waiting = asyncio.create_task(driver.receive("q", 1, PATIENCE))
    await asyncio.sleep(0.1)
    await other.publish("q", [message()])
    assert len(await waiting) == 1


async def _is_deaf(driver: PostgresDriver) -> bool:
    return not await hears(driver)
