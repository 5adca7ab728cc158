"""Open drivers with keys that must never be shown; rules for the gate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tasuki.clock import Clock
from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki.drivers.sqs.aws import AwsConfig
from tasuki.drivers.sqs.driver import SQSDriver
from tasuki.drivers.sqs.settings import SQSSettings
from tests.support.brokers import rig
from tests.support.brokers.sqs_gate import Rule
from tests.support.settings import parsed

SECRET = "wJalrXUtnFEMI-not-a-real-one"


def driver_at(port: int, clock: Clock | None = None, **fields: Any) -> SQSDriver:
    config = parsed(AwsConfig, region="us-east-1", access_key_id="AKIA-canary", secret_access_key=SECRET)
    return SQSDriver("sqs", SQSSettings(config=config, endpoint=f"http://127.0.0.1:{port}", **fields), clock)


@asynccontextmanager
async def opened(port: int, *specs: QueueSpec, **fields: Any) -> AsyncIterator[SQSDriver]:
    """An open driver, declared as an app does it: before the driver is opened, so that opening makes the queues."""
    driver = driver_at(port, **fields)
    for spec in specs:
        await driver.declare(spec)
    async with rig.opened(driver):
        yield driver


def messages(number: int, **fields: Any) -> list[Outgoing]:
    return [Outgoing(f"{index}", b"body", {}, **fields) for index in range(number)]


def once(operation: str, decision: Any) -> Rule:
    """The decision for the first request of a kind."""
    left = [decision]
    return lambda seen, body: left.pop() if seen == operation and left else None


def always(operation: str, decision: Any) -> Rule:
    return lambda seen, body: decision if seen == operation else None
