"""Checks between entries: names used twice, dead-letter queues, the drivers of stores, limits and lanes."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from tasuki.errors import ConfigError
from tasuki.fields.types import DRIVER_PREFIX, Config, DriverKind, Kind
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.env import EnvVariableConfig
from tasuki.kinds.entries.lifecycle import DriverConfig
from tasuki.kinds.entries.queue import LEASE, QueueConfig, limit_of_lanes, whole_limit, with_paths
from tasuki.kinds.entries.store import OF_DRIVERS, STORE_PREFIX, DriverStoreConfig, MemoryStoreConfig
from tasuki.kinds.kind import all_capabilities, capabilities_of
from tasuki.registry.entry import KeyPath, Registry, shown
from tasuki.registry.overrides import is_overridden
from tasuki.units import format_duration

Finding = tuple[str, KeyPath, str, str]
"""Id of the entry, path, problem, hint."""


def problems_of_stores(
    registry: Registry, configs: Mapping[str, Config], kinds: Mapping[str, Kind]
) -> Iterator[Finding]:
    """Stores that cannot be, and states that are in no store that all processes share."""
    yield from _of_other_drivers(registry, configs, kinds)
    for id, config in configs.items():
        named = config.state if isinstance(config, QueueConfig | DriverConfig) else None
        if named is not None and isinstance(configs.get(named), MemoryStoreConfig):
            problem = f"store {named!r} is a store.memory, which no other process sees: no state can be in it"
            hint = "name a store of a driver (store.sqlite, store.postgres, store.redis, store.nats)"
            yield id, ("state",), problem, hint


def _of_other_drivers(
    registry: Registry, configs: Mapping[str, Config], kinds: Mapping[str, Kind]
) -> Iterator[Finding]:
    """Stores whose driver has no store, or one of another kind; a driver that an override swaps takes them along."""
    for id, config in configs.items():
        driver = kinds.get(config.driver) if isinstance(config, DriverStoreConfig) else None
        if not isinstance(config, DriverStoreConfig) or not isinstance(driver, DriverKind):
            continue
        wanted, found = kinds[id].name.removeprefix(STORE_PREFIX), driver.short_name
        if found != "memory" and found not in OF_DRIVERS:
            hint = f"name a driver of these kinds: {', '.join(OF_DRIVERS)}"
            yield id, ("driver",), f"driver {config.driver!r} ({found}) has no store", hint
        elif found != wanted and not is_overridden(registry.entries[config.driver], ("kind",)):
            needed = f"a {STORE_PREFIX}{wanted} needs a {DRIVER_PREFIX}{wanted}"
            other = f"{STORE_PREFIX}{found}" + (" without a driver" if found == "memory" else "")
            problem = f"{needed}, but {config.driver!r} is a {driver.name}"
            yield id, ("driver",), problem, f"make it a {other}, or name another driver"


def shared_names(configs: Mapping[str, Config]) -> Iterator[Finding]:
    """Queues of two drivers with one name and one store: their keys there are the same; for the warnings."""
    first: dict[tuple[str, str], str] = {}
    for id, config in configs.items():
        on = configs.get(config.driver) if isinstance(config, QueueConfig) else None
        if not isinstance(config, QueueConfig) or not isinstance(on, DriverConfig):
            continue
        named = config.state or on.state
        if named is None or (other := first.setdefault((named, config.queue_name), id)) == id:
            continue
        problem = f"{other!r} has the same name at its broker, {config.queue_name!r}, and the same store, {named!r}"
        hint = "they share pauses, results and the keys of idempotency: give one a queue_name or its own store"
        yield id, ("queue_name",), problem, hint


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


def conflicts(registry: Registry, configs: Mapping[str, Config], kinds: Mapping[str, Kind]) -> Iterator[ConfigError]:
    """Every conflict between entries."""
    yield from _of_names(registry, configs, kinds)
    yield from _of_signatures(registry, configs)


def _of_names(registry: Registry, configs: Mapping[str, Config], kinds: Mapping[str, Kind]) -> Iterator[ConfigError]:
    """Queues with one name at one broker, names of parts of other queues, and variables that are declared twice."""
    queues = {id: config for id, config in configs.items() if isinstance(config, QueueConfig)}
    places = _places_of_drivers(registry, configs, kinds)
    at = {id: (places.get(config.driver, config.driver), config.queue_name) for id, config in queues.items()}
    for id, first in _taken(at):
        drivers = queues[id].driver, queues[first].driver
        why = "" if drivers[0] == drivers[1] else f": {drivers[0]!r} and {drivers[1]!r} lead to the same place"
        yield _problem(registry, configs[id], id, "queue_name", f"is already taken by {first!r}{why}")
    ids = {place: id for id, place in at.items()}
    for id, config in queues.items():
        # Some drivers make several queues at the broker for one, each with its own name.
        whole_of = getattr(getattr(kinds.get(config.driver), "queue_options", None), "whole_of", None)
        whole = ids.get((at[id][0], whole_of(config.queue_name))) if whole_of else None
        if whole is not None:
            yield _problem(registry, config, id, "queue_name", f"is also the name of a part of {whole!r} at the broker")
    variables = {id: config.variable for id, config in configs.items() if isinstance(config, EnvVariableConfig)}
    for id, first in _taken(variables):
        yield _problem(registry, configs[id], id, "variable", f"is already taken by {first!r}")


def _places_of_drivers(
    registry: Registry, configs: Mapping[str, Config], kinds: Mapping[str, Kind]
) -> dict[str, Hashable]:
    """The file or address of each driver: driver entries with the same one share their queues."""
    places: dict[str, Hashable] = {}
    for id, config in configs.items():
        kind = kinds[id]
        if isinstance(kind, DriverKind) and kind.place is not None:
            with suppress(ValueError):  # the driver itself reports an address that cannot be read
                places[id] = kind.name, kind.place(config, registry.root)
    return places


def _taken(keys: Mapping[str, Hashable]) -> Iterator[tuple[str, str]]:
    """Each id whose key another id has before it, with the first such id; None is no key."""
    first: dict[Hashable, str] = {}
    for id, key in keys.items():
        if key is not None and first.setdefault(key, id) != id:
            yield id, first[key]


def _of_signatures(registry: Registry, configs: Mapping[str, Config]) -> Iterator[ConfigError]:
    """Dead letters that the consumer of their queue would refuse: they keep the signature of the queue before."""
    queues = {id: config for id, config in configs.items() if isinstance(config, QueueConfig)}
    consumed = {config.queue: id for id, config in configs.items() if isinstance(config, ConsumerConfig)}
    for id, config in queues.items():
        dead = config.dead_letter.queue if config.dead_letter else ""
        target = queues.get(dead)
        if target is None or target.signing is None or dead not in consumed:
            continue
        if config.signing is not None or target.signing.required:
            problem = (
                f"{consumed[dead]!r} would refuse every dead letter of {id!r}: "
                "a dead letter is not signed for the queue that it goes to"
            )
            hint = "remove signing from the dead-letter queue, or remove its consumer"
            yield registry.entries[dead].error(problem, ("signing",), hint)


def _problem(registry: Registry, config: Config, id: str, field: str, what: str) -> ConfigError:
    entry = registry.entries[id]
    name = shown(getattr(config, field), entry.data.get(field))
    return entry.error(f"{field} {name} {what}", (field,), f"give one of them another {field}")
