"""Conflicts: names that two entries use, and dead letters that a consumer would refuse."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress

from tasuki.errors import ConfigError
from tasuki.fields.kinds import DriverKind, Kind
from tasuki.fields.types import Config
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.env import EnvVariableConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.registry.registry import Registry
from tasuki.registry.shown import shown


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
