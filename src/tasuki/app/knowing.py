"""Knowing queues without changing them: for tools, for replies to other processes, and before a declaration."""

from __future__ import annotations

from dataclasses import fields

from tasuki.contracts.driver import Driver, QueueSpec
from tasuki.errors import QueueNotFoundError, UnsupportedError


async def know(driver: Driver, spec: QueueSpec) -> None:
    """Have the driver know a queue as it stands at the broker. Raises QueueNotFoundError if it is not there."""
    try:
        await driver.inspect(spec)
    except UnsupportedError:  # a driver of an earlier contract, which must declare whatever it is to reach
        await driver.declare(spec)


async def changes_of(driver: Driver, spec: QueueSpec) -> list[str]:
    """What declaring the queue would change at the broker, each with both values; empty for a new queue."""
    try:
        return differences(await driver.inspect(spec), spec)
    except (QueueNotFoundError, UnsupportedError):
        return []


def differences(live: QueueSpec, wanted: QueueSpec) -> list[str]:
    """The options in which two specifications of one queue differ, each with both values."""
    names = [field.name for field in fields(QueueSpec) if field.name not in ("name", "temporary", "options")]
    pairs = [(name, getattr(live, name), getattr(wanted, name)) for name in names]
    pairs += [
        (f"options.{name}", live.options.get(name), wanted.options.get(name))
        for name in dict.fromkeys((*live.options, *wanted.options))
    ]
    return [f"{name} from {before!r} to {after!r}" for name, before, after in pairs if before != after]
