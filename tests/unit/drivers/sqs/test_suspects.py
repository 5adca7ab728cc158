"""A suspect on its way to its own queue: whatever fails, or stops, there is one of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any, cast

import pytest

from tasuki.clock import SystemClock
from tasuki.contracts.driver import QueueSpec, Release
from tasuki.drivers.sqs.envelope import Envelope, read
from tasuki.drivers.sqs.polling import Arrived, Suspects
from tasuki.drivers.sqs.publishing import Publishing
from tasuki.drivers.sqs.settling import Settling
from tasuki.drivers.sqs.source import Held, Source
from tasuki.errors import BrokerUnavailableError

pytestmark = pytest.mark.anyio

FOREVER = 1e12


class Server:
    """Keeps messages by handle, and fails on request: also Clients, Polling and Declaring of the driver."""

    def __init__(self) -> None:
        self.messages: dict[str, tuple[str, Any, Any]] = {"original": ("main", "body", {})}
        self.fails: set[str] = set()
        self.numbers = count()
        self.pause: asyncio.Event | None = None

    async def call(self, operation: str, queue: str, **fields: Any) -> dict[str, Any]:
        if self.pause is not None:
            await self.pause.wait()
        if operation in self.fails:
            self.fails.discard(operation)
            raise BrokerUnavailableError(f"{operation} fails")
        if operation == "send_message_batch":
            for entry in fields["Entries"]:
                sent = fields["QueueUrl"], entry["MessageBody"], entry["MessageAttributes"]
                self.messages[f"copy {next(self.numbers)}"] = sent
        elif operation == "delete_message_batch":
            for entry in fields["Entries"]:
                self.messages.pop(entry["ReceiptHandle"], None)
        return {"Successful": [{"Id": entry["Id"]} for entry in fields["Entries"]]}

    async def ask_suspect(self, *, seconds: int) -> list[Arrived]:
        if "receive_message" in self.fails:
            self.fails.discard("receive_message")
            raise BrokerUnavailableError("receive_message fails")
        found = [(handle, *message) for handle, message in self.messages.items() if message[0] == "suspects"]
        return [(self._held(*message), b"") for message in found]

    def keep(self, arrived: list[Arrived]) -> None:
        raise AssertionError

    async def create_suspects(self, spec: QueueSpec, url: str) -> str:
        return "suspects"

    def _held(self, handle: str, url: str, body: str, attributes: Any) -> Held:
        envelope, _ = read(handle, body, attributes)
        return Held(url, handle, handle, body, attributes, envelope, None, 1, 0.0, FOREVER)


class Bench:
    def __init__(self) -> None:
        self.server = Server()
        server = cast("Any", self.server)  # for all three that it stands for
        self.source = Source(QueueSpec("tasks"), "main", is_fifo=False)
        clock, publishing = SystemClock(), Publishing("sqs", server, checks_digests=False)
        self.settling = Settling("sqs", server, publishing, clock)
        self.suspects = Suspects(self.source, server, server, self.settling, publishing, clock)
        self.held = Held("main", "original", "m", "body", {}, Envelope("m"), None, 1, clock.boottime(), FOREVER)
        self.source.add(self.held, 0.0)

    async def release(self) -> Sequence[object]:
        return await self.settling.settle(self.source, [Release(self.held)])


async def test_a_start_moves_it_and_a_release_moves_it_back() -> None:
    bench = Bench()
    assert await bench.suspects.start([bench.held]) == []
    assert [where for where, *_ in bench.server.messages.values()] == ["suspects"]
    assert await bench.release() == []
    assert [where for where, *_ in bench.server.messages.values()] == ["main"]


@pytest.mark.parametrize("failing", ["send_message_batch", "delete_message_batch", "receive_message"])
async def test_a_start_that_fails_half_way_leaves_one_message(failing: str) -> None:
    bench = Bench()
    bench.server.fails.add(failing)
    with pytest.raises(BrokerUnavailableError):
        await bench.suspects.start([bench.held])
    await bench.release()
    assert len(bench.server.messages) == 1


async def test_a_release_while_it_is_moved_waits_for_that() -> None:
    """As a stop does: the start goes on, although its caller is cancelled."""
    bench = Bench()
    bench.server.pause = asyncio.Event()
    starting = asyncio.create_task(bench.suspects.start([bench.held]))
    await asyncio.sleep(0)
    releasing = asyncio.create_task(bench.release())
    await asyncio.sleep(0)
    bench.server.pause.set()
    await asyncio.gather(starting, releasing)
    assert [where for where, *_ in bench.server.messages.values()] == ["main"]
