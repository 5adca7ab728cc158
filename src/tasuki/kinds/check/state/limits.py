"""Limits: checks lanes on drivers without them, and the cost of held messages for a queue with places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tasuki.fields.kinds import DriverKind, Kind
from tasuki.fields.types import Config
from tasuki.kinds.capabilities import all_capabilities, capabilities_of
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.messages.limits import LEASE, limit_of_lanes, whole_limit, with_paths
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.registry.entry import KeyPath
from tasuki.units import format_duration

Finding = tuple[str, KeyPath, str, str]
"""Id of the entry, path, problem, hint."""


def has_places(config: Config | None) -> bool:
    """Whether a queue limits how many of its messages are held at once."""
    return _places_of(config) is not None


def has_limit(config: Config | None) -> bool:
    """Whether a queue limits how fast its messages are handed out, or how many are held at once."""
    return isinstance(config, QueueConfig) and bool(config.limit)


def limited_lease(config: QueueConfig) -> dict[str, Any]:
    """The lease of a queue that states none and has places, as an update of its fields."""
    return {"lease": LEASE} if has_places(config) and "lease" not in config.model_fields_set else {}


def problems_of_limits(configs: Mapping[str, Config], kinds: Mapping[str, Kind]) -> Iterator[Finding]:
    """Queues that need lanes, on drivers that have none; places that would be free before a handler runs."""
    yield from _without_lanes(configs, kinds)
    for id, config in configs.items():
        if isinstance(config, ConsumerConfig) and config.auto_ack and has_places(configs.get(config.queue)):
            problem = f"auto_ack settles a message before its function runs, and so frees its place in {config.queue}"
            yield id, ("auto_ack",), problem, "remove auto_ack, or the concurrency of the queue's limit"


def _without_lanes(configs: Mapping[str, Config], kinds: Mapping[str, Kind]) -> Iterator[Finding]:
    for id, config in configs.items():
        driver = kinds.get(config.driver) if isinstance(config, QueueConfig) else None
        if not isinstance(config, QueueConfig) or not isinstance(driver, DriverKind):
            continue
        if config.lane_rule is None or (capabilities := capabilities_of(driver)) is None or capabilities.has("limits"):
            continue
        able = [name for name, has in all_capabilities().items() if has.has("limits")]
        move = f"move it to {' or '.join([', '.join(able[:-1]), able[-1]] if able[1:] else able)}"
        cannot = f"which driver {config.driver!r} ({driver.short_name}) cannot"
        for path, limit in with_paths(config.limit):
            if limit.key is not None:
                yield id, (*path, "key"), f"queue {id!r} limits by key, {cannot}", f"{move}, or drop 'key'"
        if config.fair is not None:
            yield id, ("fair",), f"queue {id!r} serves the values of a key in turn, {cannot}", f"{move}, or drop 'fair'"


def prices_of_places(configs: Mapping[str, Config]) -> Iterator[Finding]:
    """Settings that keep places from other workers: for the warnings."""
    for id, config in configs.items():
        if has_places(config) and isinstance(config, QueueConfig) and config.lease > LEASE:
            lease = format_duration(config.lease)
            problem = f"a killed worker keeps its places of limit for the lease, which is {lease}"
            yield id, ("lease",), problem, f"write lease: {format_duration(LEASE)}, or leave it out"
        if not isinstance(config, ConsumerConfig) or (places := _places_of(queue := configs.get(config.queue))) is None:
            continue
        whole = whole_limit(queue.limit) if isinstance(queue, QueueConfig) else None
        is_for_all = whole is not None and whole.concurrency is not None
        if is_for_all and config.batch is not None and config.batch.size > places:
            problem = f"a batch of {config.batch.size} is never full: {config.queue} has {places} places by its limit"
            yield id, ("batch",), problem, f"lower size to {places}: else each batch waits for its whole wait"
        if "prefetch" in config.model_fields_set and config.prefetch > max(places, config.concurrency):
            problem = (
                f"prefetch {config.prefetch} is more than the {places} places that {config.queue} has by its limit"
            )
            hint = "a held message takes a place though it does not run: lower it, or leave it out"
            yield id, ("prefetch",), problem, hint


def _places_of(config: Config | None) -> int | None:
    """The places of the whole queue, or else of each lane."""
    limits = config.limit if isinstance(config, QueueConfig) else ()
    found = (limit.concurrency for limit in (whole_limit(limits), limit_of_lanes(limits)) if limit is not None)
    return next((places for places in found if places is not None), None)
