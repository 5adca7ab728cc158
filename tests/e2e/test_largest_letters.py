"""The largest message that NATS takes with its default settings has a dead letter that it takes too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tasuki import App, Context, QueueHandle
from tasuki.contracts.driver import Received
from tasuki.errors import MessageTooLargeError
from tests.support.brokers.nats import NATSBroker

pytestmark = pytest.mark.anyio

MIB = 2**20


class DefaultNATS(NATSBroker):
    """With the server's own limit."""

    settings = ("max_payload: 1MB",)


@pytest.fixture
def address() -> Iterator[list[str]]:
    """Overrides for the driver."""
    with DefaultNATS() as broker:
        yield ["app:driver:kind=queue.driver.nats", f"app:driver:servers={broker.url}"]


async def publish_largest(jobs: QueueHandle[Any]) -> int:
    """Publish the largest text that is taken; its size in bytes."""
    low, high = MIB // 2, 2 * MIB
    while high - low > 1:
        size = (low + high) // 2
        try:
            await jobs.publish("x" * size, {"note": "n" * 20}, id=str(size), delay="1h")
            low = size
        except MessageTooLargeError:
            high = size
    await jobs.publish("x" * low, {"note": "n" * 20}, id="largest")
    return low


async def test_the_largest_message_has_a_dead_letter(address: list[str], tmp_path: Path) -> None:
    app, name = App("memory://", root=tmp_path, overrides=address), f"large_{uuid4().hex[:8]}"
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1}, queue_name=name)
    app.queue("dead", queue_name=f"{name}_dead")

    @jobs.consumer
    async def fail(body: str, context: Context) -> None:
        raise ValueError("it fails " * 400)

    async with app.worker():
        size = await publish_largest(jobs)
        async with asyncio.timeout(60):
            got: list[Received] = []
            while not got:
                got = await app._runtime.queue("dead").driver.receive(f"{name}_dead", 1, 5.0)
    assert size > MIB - 10_000
    assert (got[0].id, len(got[0].body)) == ("largest", size + 2)
    assert "error" in str(got[0].headers["x_left_out"])
    assert got[0].headers["x_original_queue"] == "app:jobs"
