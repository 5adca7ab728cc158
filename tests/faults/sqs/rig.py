"""Open drivers with keys that must never be shown; rules for the gate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tasuki.contracts.driver import Outgoing, QueueSpec, Received
from tasuki.drivers.sqs.aws import AwsConfig
from tasuki.drivers.sqs.driver import SQSDriver
from tasuki.drivers.sqs.settings import SQSSettings
from tests.support.brokers.sqs_gate import Rule
from tests.support.settings import parsed

PATIENCE = 20.0

SECRET = "wJalrXUtnFEMI-not-a-real-one"


def driver_at(port: int, **fields: Any) -> SQSDriver:
    config = parsed(AwsConfig, region="us-east-1", access_key_id="AKIA-canary", secret_access_key=SECRET)
    return SQSDriver("sqs", SQSSettings(config=config, endpoint=f"http://127.0.0.1:{port}", **fields))


@asynccontextmanager
async def opened(port: int, *specs: QueueSpec, **fields: Any) -> AsyncIterator[SQSDriver]:
    driver = driver_at(port, **fields)
    async with asyncio.timeout(PATIENCE * 2):
        try:
            for spec in specs:
                await driver.declare(spec)
            await driver.open()
            yield driver
        finally:
            await driver.close()


async def take(driver: SQSDriver, queue: str, number: int = 1) -> list[Received]:
    taken: list[Received] = []
    end = time.monotonic() + PATIENCE
    while len(taken) < number:
        taken += await driver.receive(queue, number - len(taken), 1.0)
        assert time.monotonic() < end, f"{number} messages expected, {len(taken)} came"
    return taken


def messages(number: int, **fields: Any) -> list[Outgoing]:
    return [Outgoing(f"{index}", b"body", {}, **fields) for index in range(number)]


def once(operation: str, decision: Any) -> Rule:
    """The decision for the first request of a kind."""
    left = [decision]
    return lambda seen, body: left.pop() if seen == operation and left else None


def always(operation: str, decision: Any) -> Rule:
    return lambda seen, body: decision if seen == operation else None
