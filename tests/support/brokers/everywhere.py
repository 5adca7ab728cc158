"""Every driver by its short name, and the overrides that bring a project onto it, with a private broker behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.support.brokers.broker import Broker

_BROKERS: Mapping[str, tuple[str, Callable[[Broker], Mapping[str, Any]]]] = {
    "redis": ("redis:Redis", lambda broker: {"url": f"redis://127.0.0.1:{broker.port}"}),
    "valkey": ("redis:Valkey", lambda broker: {"url": f"redis://127.0.0.1:{broker.port}"}),
    "amqp": ("rabbitmq:RabbitMQ", lambda broker: {"url": f"amqp://guest:guest@127.0.0.1:{broker.port}/"}),
    "sqs": ("sqs:SQS", lambda broker: {"endpoint": f"http://127.0.0.1:{broker.port}"}),
    "postgres": (
        "postgres:Postgres",
        lambda broker: {"url": f"postgresql://postgres@127.0.0.1:{broker.port}/postgres"},
    ),
    "nats": ("nats:NATSBroker", lambda broker: {"servers": f"nats://127.0.0.1:{broker.port}"}),
}
"""Short name → class of the rig, and the fields of the driver's entry that lead to it."""

_KINDS = {"valkey": "redis"}

DRIVERS = ("memory", "sqlite", *_BROKERS)

# The emulator takes any keys; the client wants some.
AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def broker_of(driver: str) -> Broker | None:
    """The running private broker of a driver; None for those without. Skips, or fails in CI, where it is missing."""
    if driver not in _BROKERS:
        return None
    module, _, name = _BROKERS[driver][0].partition(":")
    found: type[Broker] = getattr(import_module(f"tests.support.brokers.{module}"), name)
    return found.shared()


def overrides(driver: str, entry: str, folder: Path) -> list[str]:
    """``-o`` values that turn the driver ``entry`` into this one."""
    fields: Mapping[str, Any] = {"path": str(folder / "queue.db")} if driver == "sqlite" else {}
    if (broker := broker_of(driver)) is not None:
        fields = _BROKERS[driver][1](broker)
        os.environ.update(AWS)
    kind = f"{entry}:kind=queue.driver.{_KINDS.get(driver, driver)}"
    return [kind, *(f"{entry}:{field}={value}" for field, value in fields.items())]
