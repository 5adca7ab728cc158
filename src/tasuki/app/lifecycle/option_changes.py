"""Declaring queues, and logging how a declaration changes a queue that other processes use."""

from __future__ import annotations

import logging
from dataclasses import fields

from tasuki.contracts.driver import Driver, Limit, QueueSpec
from tasuki.errors import QueueNotFoundError
from tasuki.queues.policy import limit_text
from tasuki.queues.queue import Queue

_log = logging.getLogger("tasuki.app")


async def declare(queue: Queue) -> None:
    """Declare a queue; log each option that this changes at the broker, with both values."""
    if changes := await _changes_of(queue.driver, queue.spec):
        text = "queue %s: this process changes the settings of the queue at the broker, for all processes: %s"
        _log.warning(text, queue.id, "; ".join(changes), extra={"queue": queue.id})
    await queue.driver.declare(queue.spec)


async def _changes_of(driver: Driver, spec: QueueSpec) -> list[str]:
    """The options that declaring the queue would change at the broker, each with both values."""
    if not driver.tells_options:
        return []
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
    # A queue that is prepared for priorities stays so.
    pairs = [pair for pair in pairs if pair != ("priorities", True, False)]
    return [f"{name} from {_shown(before)} to {_shown(after)}" for name, before, after in pairs if before != after]


def _shown(value: object) -> str:
    return limit_text(value) if isinstance(value, Limit) else repr(value)
