"""Changes: what a declaration would change in a queue that is in use."""

from __future__ import annotations

from dataclasses import fields

from tasuki.contracts.driver import Driver, QueueSpec
from tasuki.errors import QueueNotFoundError


async def changes_of(driver: Driver, spec: QueueSpec) -> list[str]:
    """What declaring the queue would change at the broker, each with both values; empty for a new queue."""
    try:
        return differences(await driver.inspect(spec), spec)
    except QueueNotFoundError:
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
