"""A NATS cluster of three servers with three replicas: the leader of a queue dies under load."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence

import nats
import pytest

from tasuki.drivers.nats import NATSDriver
from tasuki.errors import DriverError
from tests.faults.nats_site import PATIENCE, QUEUE, Load, declared, through
from tests.support.brokers.nats import NATSNode, cluster

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


@pytest.fixture
async def nodes() -> AsyncIterator[Sequence[NATSNode]]:
    made = await asyncio.to_thread(cluster, 3)
    yield made
    for node in made:
        node.end()


@pytest.fixture
async def driver(nodes: Sequence[NATSNode]) -> AsyncIterator[NATSDriver]:
    servers = [f"nats://127.0.0.1:{node.port}" for node in nodes]
    driver = NATSDriver("app:nats", servers=servers, replicas=3, server_sync="always", timeout=3.0, connect_timeout=3.0)
    await opened(driver)
    yield driver
    await driver.close()


async def opened(driver: NATSDriver) -> None:
    """As soon as the servers have agreed on who leads them."""
    end = time.monotonic() + PATIENCE * 2
    while True:
        try:
            await driver.open()
            await declared(driver, lease=3.0)
        except DriverError:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        else:
            return


async def leader(nodes: Sequence[NATSNode]) -> NATSNode:
    client = await nats.connect([f"nats://127.0.0.1:{node.port}" for node in nodes])
    try:
        answer = await client.request(f"$JS.API.STREAM.INFO.tasuki+{QUEUE}", b"", timeout=5)
    finally:
        await client.close()
    info = json.loads(answer.data)
    assert len(info["cluster"]["replicas"]) == 2
    return next(node for node in nodes if node.server_name == info["cluster"]["leader"])


async def test_the_death_of_the_leader_loses_nothing(nodes: Sequence[NATSNode], driver: NATSDriver) -> None:
    assert driver.durability == "node"
    load = Load(driver)

    async def kill() -> None:
        await load.more(200)
        await asyncio.to_thread((await leader(nodes)).kill)
        await load.more(200)

    await through(load, kill)
