"""A process that forks while a Redis driver is open: the child has connections of its own, or an error."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest

from tasuki.contracts.driver import Ack
from tasuki.errors import BrokerUnavailableError
from tests.faults.redis.rig import driver_at
from tests.support.brokers.redis import Redis
from tests.support.brokers.rig import SECONDS, messages, take

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.fault,
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def in_child(work: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine in a forked child; it must not fail."""
    child = os.fork()
    if not child:
        code = 1
        try:
            asyncio.run(asyncio.wait_for(work(), SECONDS))
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


async def test_a_child_does_not_use_the_connections_of_its_parent() -> None:
    async with driver_at(Redis.shared().port, prefix="forks") as driver:
        await driver.publish("q", messages("held"))
        (held,) = await take(driver, "q")
        waiting = asyncio.create_task(driver.receive("q", 1, SECONDS))

        async def child() -> None:
            for verb in (driver.publish("q", messages("x")), driver.receive("q", 1, 0.0), driver.depth("q")):
                with pytest.raises(BrokerUnavailableError, match="parent process"):
                    await verb
            await driver.close()  # the parent's: nothing to do
            await driver.open()
            assert not await driver.publish("q", messages("theirs"))
            assert (await driver.depth("q")).in_flight
            await driver.close()

        await asyncio.to_thread(in_child, child)
        assert [item.id for item in await waiting] == ["theirs"]
        assert not await driver.settle("q", [Ack(held.receipt)])
