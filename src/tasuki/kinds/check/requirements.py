"""The requirements of a queue for its driver: explicit ones by name, and others implied by its options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from tasuki.contracts.driver import DURABILITIES, Capabilities, Durability
from tasuki.kinds.entries.lifecycle import DriverConfig
from tasuki.kinds.entries.queue import QueueConfig, UniqueConfig, with_paths
from tasuki.queues.uniqueness import DOES
from tasuki.registry.entry import KeyPath
from tasuki.units import format_duration, format_size


class Requirement(NamedTuple):
    """A test of a driver, and its words for people: a driver that can …."""

    is_met: Callable[[Capabilities], bool]
    words: str


class Need(NamedTuple):
    """A requirement of a queue, and the field that needs it."""

    path: KeyPath
    label: str
    requirement: Requirement


def _uniqueness(part: str) -> Requirement:
    if part == "window":  # where the driver does not, publishers do, with the store of the queue's state
        return Requirement(lambda has: part in has.unique or has.has("store"), DOES[part])
    return Requirement(lambda has: part in has.unique, DOES[part])


def _limiting(words: str) -> Requirement:
    # Where the driver does not, its workers do, with the store of the queue's state.
    return Requirement(lambda has: has.has("limits") or has.has("store"), words)


def _durability(level: Durability, words: str) -> Requirement:
    least = DURABILITIES.index(level)
    return Requirement(lambda capabilities: DURABILITIES.index(capabilities.durability) >= least, words)


REQUIREMENTS: Mapping[str, Requirement] = {
    "durable": _durability("process", "keep messages when a process ends"),
    "process": _durability("process", "keep messages when a process ends"),
    "broker": _durability("broker", "keep messages when the broker crashes"),
    "power": _durability("power", "keep messages when the power fails"),
    "node": _durability("node", "keep messages when a whole node is lost"),
    "multi_process": Requirement(lambda has: has.multi_process, "be shared by several processes"),
    "ordered": Requirement(lambda has: has.has("ordered"), "keep the order of publishing"),
    "ordering.key": Requirement(lambda has: has.has("ordering_key"), "keep the order of messages with the same key"),
    "delay": Requirement(lambda has: has.has("native_delay"), "delay messages"),
    "priority": Requirement(lambda has: has.has("native_priority"), "hand out messages by priority"),
    "attempts": Requirement(lambda has: has.has("counts_attempts"), "count the deliveries of a message"),
    "lease": Requirement(lambda has: has.has("leases"), "lend messages for a time"),
    "dedup": Requirement(lambda has: has.has("dedup"), "tell duplicates by their id"),
    "max_length": Requirement(lambda has: has.has("max_length"), "bound the number of messages"),
    "exact_depth": Requirement(lambda has: has.has("exact_depth"), "count messages exactly"),
    "peek": Requirement(lambda has: has.has("peek"), "show messages without taking them"),
    "find": Requirement(lambda has: has.has("find"), "show waiting messages by their id"),
    "locate": Requirement(lambda has: has.has("locate"), "say by an id whether its message waits, is delayed or held"),
    "causes": Requirement(lambda has: has.has("causes"), "count dead letters by their cause, however many there are"),
    "purge": Requirement(lambda has: has.has("purge"), "remove all waiting messages"),
    "remove": Requirement(lambda has: has.has("remove"), "remove waiting messages by their id"),
    "expedite": Requirement(
        lambda has: has.has("expedite"), "end the delay of a message, as a signal does for one that waits"
    ),
    "transfer": Requirement(lambda has: has.has("transfer"), "transfer waiting messages to other queues, holding none"),
    "transactional": Requirement(lambda has: has.has("publish_within"), "publish inside the caller's own transaction"),
    "transactional_settle": Requirement(lambda has: has.has("settle_within"), "settle in the handler's transaction"),
    "delete": Requirement(lambda has: has.has("delete"), "delete queues"),
    "atomic_move": Requirement(lambda has: has.has("move"), "dead-letter or reply, and ack, in one step"),
    "state": Requirement(
        lambda has: has.has("store"),
        "keep state for all processes: pauses, cancelled messages, results, steps, sleeps and groups",
    ),
    "last_error": Requirement(
        lambda has: has.has("keeps_errors"), "keep the last error of a message between its attempts"
    ),
    **{f"unique.{part}": _uniqueness(part) for part in ("pending", "running", "window", "replace", "extend")},
    "limit.rate": _limiting("limit how many messages are handled in a time"),
    "limit.concurrency": _limiting("limit how many messages are held at once"),
    "limit.key": Requirement(lambda has: has.has("limits"), "limit the messages of each value of a key separately"),
    "fair": Requirement(lambda has: has.has("limits"), "serve the values of a key in turn"),
}
BY_STATE = frozenset({"state", "limit.rate", "limit.concurrency", "unique.window"})
"""The requirements that a store of another driver meets as well, which ``state:`` names."""


def is_met_by_state(need: Need) -> bool:
    """Whether a store that the queue or its driver names is enough."""
    return any(need.requirement is REQUIREMENTS[name] for name in BY_STATE)


def needs_of(config: QueueConfig) -> Iterator[Need]:
    """The explicit requirements of a queue, and the ones that its options imply."""
    for index, name in enumerate(config.requires):
        yield Need(("requires", index), f"requires: {name}", REQUIREMENTS[name])
    if config.durability is not None and config.durability != "memory":
        yield Need(("durability",), f"durability: {config.durability}", REQUIREMENTS[config.durability])
    if config.ordering == "key":
        yield Need(("ordering",), "ordering: key", REQUIREMENTS["ordering.key"])
    if config.cancel == "strict":
        yield Need(("cancel",), "cancel: strict", REQUIREMENTS["state"])
    if config.result is not None:
        yield Need(("result",), "result", REQUIREMENTS["state"])
    if config.max_length is not None:
        yield Need(("max_length",), "max_length", REQUIREMENTS["max_length"])
    if config.dedup_window is not None:
        window = config.dedup_window
        remembers = Requirement(
            lambda has: has.has("dedup") and has.dedup_window in (None, window),
            f"tell duplicates by their id within {format_duration(window)}",
        )
        yield Need(("dedup_window",), "dedup_window", remembers)
    if config.unique is not None:
        yield from _unique_needs(config.unique)
    yield from _limit_needs(config)
    if "max_message_size" in config.model_fields_set:
        size = config.max_message_size
        carries = Requirement(
            lambda has: has.max_message_bytes is None or has.max_message_bytes >= size,
            f"carry messages of {format_size(size)}",
        )
        yield Need(("max_message_size",), "max_message_size", carries)


def _unique_needs(unique: UniqueConfig) -> Iterator[Need]:
    span = "window" if isinstance(unique.for_, float) else unique.for_
    yield Need(("unique", "for"), f"unique: for: {span}", REQUIREMENTS[f"unique.{span}"])
    if span == "window" and unique.on_conflict == "keep":
        return  # a store keeps that too
    yield Need(("unique", "on_conflict"), f"unique: on_conflict: {unique.on_conflict}", _uniqueness(unique.on_conflict))


def _limit_needs(config: QueueConfig) -> Iterator[Need]:
    """Of a limit over the whole queue; lanes have an error of their own."""
    for path, limit in with_paths(config.limit):
        for part in ("rate", "concurrency"):
            if limit.key is None and getattr(limit, part) is not None:
                yield Need((*path, part), f"limit: {part}", REQUIREMENTS[f"limit.{part}"])


def wanted_durability(config: QueueConfig) -> Durability | None:
    """The highest level that a queue demands; None if it demands none."""
    levels = [DURABILITIES.index(config.durability)] if config.durability is not None else []
    for name in config.requires:
        level = "process" if name == "durable" else name
        levels += [index for index, known in enumerate(DURABILITIES) if known == level]
    return DURABILITIES[max(levels)] if levels else None


def demanded_durability(queue: QueueConfig, driver: DriverConfig) -> Durability | None:
    """The higher of what a queue and the entry of its driver demand; None if neither demands any."""
    levels = [level for level in (wanted_durability(queue), driver.durability) if level is not None]
    return max(levels, key=DURABILITIES.index, default=None)
