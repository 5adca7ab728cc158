"""Settings: what holds for a queue, as its page and the API show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasuki.desk.site import Site
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.queues.queue import Queue
from tasuki.units import format_duration, format_size


def settings_of(site: Site, queue: Queue, id: str) -> list[tuple[str, str]]:
    """What holds for a queue: keys of the catalogue, and values."""
    config = site.project.of(QueueConfig)[id]
    kind = site.project.driver_of(id).name
    spec = queue.spec
    pairs: Sequence[tuple[str, Any]] = (
        ("driver", f"{queue.driver.name} ({kind})"),
        ("name", spec.name),
        ("durability", queue.driver.durability_of(spec.name)),
        ("lease", format_duration(config.lease)),
        ("codec", config.codec),
        ("ordering", config.ordering),
        ("max_length", config.max_length),
        ("message_ttl", None if config.message_ttl is None else format_duration(config.message_ttl)),
        ("max_message_size", format_size(config.max_message_size)),
        ("retry", f"{format_duration(config.retry.initial_delay)} … {format_duration(config.retry.max_delay)}"),
    )
    return [(f"settings.{key}", str(value)) for key, value in pairs if value is not None]
