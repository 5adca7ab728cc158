"""Every driver by its short name, and the overrides that bring a project onto it, with a private broker behind."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from tests.support.brokers.broker import Broker

_BROKERS: Mapping[str, tuple[str, str]] = {
    "redis": ("redis:Redis", "url"),
    "valkey": ("redis:Valkey", "url"),
    "amqp": ("rabbitmq:RabbitMQ", "url"),
    "sqs": ("sqs:SQS", "endpoint"),
    "postgres": ("postgres:Postgres", "url"),
    "nats": ("nats:NATSBroker", "servers"),
}
"""Short name → class of the rig, and the field of the driver's entry for its URL."""

_KINDS = {"valkey": "redis"}

DRIVERS = ("memory", "sqlite", *(name for name in _BROKERS if name not in _KINDS))
"""Valkey, a second server of one of them, is for the suite and the shortest way of a message."""

# The emulator takes any keys; the client wants some.
AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def broker_of(driver: str) -> Broker | None:
    """The running private broker of a driver; None for those without. Skips, or fails in CI, where it is missing."""
    if driver not in _BROKERS:
        return None
    module, _, name = _BROKERS[driver][0].partition(":")
    found: type[Broker] = getattr(import_module(f"tests.support.brokers.{module}"), name)
    return found.shared()


def fields(driver: str, folder: Path) -> dict[str, str]:
    """What a driver's entry needs beside its kind to reach its broker."""
    if driver == "sqlite":
        return {"path": str(folder / "queue.db")}
    if (broker := broker_of(driver)) is None:
        return {}
    os.environ.update(AWS)
    return {_BROKERS[driver][1]: broker.url}


def overrides(driver: str, entry: str, folder: Path) -> list[str]:
    """``-o`` values that turn the driver ``entry`` into this one."""
    kind = f"{entry}:kind=queue.driver.{_KINDS.get(driver, driver)}"
    return [kind, *(f"{entry}:{field}={value}" for field, value in fields(driver, folder).items())]
