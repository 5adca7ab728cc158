from __future__ import annotations

import asyncio

import pytest

from tasuki.drivers.toolkit.threaded import LeaseThread
from tasuki.errors import BrokerUnavailableError

pytestmark = pytest.mark.anyio

made: list[Connection] = []


class Connection:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.is_closed = False
        made.append(self)

    async def ask(self) -> Connection:
        assert asyncio.get_running_loop() is self.loop
        return self

    async def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def anyio_backend() -> str:
    made.clear()
    return "asyncio"


async def test_one_connection_on_a_loop_of_its_own_until_the_close() -> None:
    leases = LeaseThread("app:x", Connection)
    assert made == []
    first = await leases.run(Connection.ask)
    assert await leases.run(Connection.ask) is first
    assert first.loop is not asyncio.get_running_loop()
    await leases.close()
    await leases.close()
    assert first.is_closed
    with pytest.raises(BrokerUnavailableError, match="was stopped") as refused:
        await leases.run(Connection.ask)
    assert (refused.value.driver, refused.value.outcome) == ("app:x", "rejected")
    leases.open()
    assert await leases.run(Connection.ask) is not first
    await leases.close()


async def test_after_a_loop_that_failed_there_is_a_new_connection() -> None:
    leases = LeaseThread("app:x", Connection)
    await leases.run(Connection.ask)
    leases._thread.tell(_raise)
    async with asyncio.timeout(30):
        while len(made) < 2:
            try:
                await leases.run(Connection.ask)
            except BrokerUnavailableError:
                await asyncio.sleep(0)
    await leases.close()
    assert [connection.is_closed for connection in made] == [True, True]


def _raise() -> None:
    raise SystemExit
