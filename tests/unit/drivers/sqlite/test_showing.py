"""The cost of showing some messages of a queue with many delayed ones."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki.drivers.sqlite.store.browsing import show
from tests.unit.drivers.sqlite.conftest import connection_of

pytestmark = pytest.mark.anyio


async def test_showing_a_delayed_message_costs_the_same_however_many_are_delayed(make: Any) -> None:
    driver = await make()
    await driver.declare(QueueSpec("q"))
    connection, steps = connection_of(driver), []
    for number in (10, 10_000):
        await driver.publish("q", [Outgoing(f"{number}-{index}", b"", {}, delay=600.0) for index in range(number)])
        (last,) = await driver.find("q", [f"{number}-{number - 1}"])
        ticks: list[None] = []
        connection.set_progress_handler(partial(ticks.append, None), 1)
        (found,) = show(connection, 1, [int(last.place)], 0.0)
        connection.set_progress_handler(None, 0)
        assert found.id == last.id
        assert 0 < last.delay <= 600.0
        steps.append(len(ticks))
    assert steps[1] <= steps[0] + 50, "instructions of SQLite's machine"
