"""The queues at the broker that a queue of ours is made of, and their arguments."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

from pamqp import commands

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.amqp.limits import CONSUMER_TIMEOUT, MOST_PARTITIONS
from tasuki.drivers.toolkit.results import MAX_PRIORITY

DELIVERY_LIMIT = 100_000
"""Returns after which a quorum queue gives a message up: far above any ``max_attempts``; never the broker's own limit
of 20. It cannot be switched off either: without one a returned message goes to the tail."""

GIVEN_UP = "tasuki.undeliverable"
"""Queue for what the broker itself gives up, so that it is not deleted."""
PARTITIONS = 16
"""Lanes over which the keys of a queue are spread, and so most keys that are handled at the same time."""
KEPT = 600.0
"""Seconds for which the broker keeps a temporary queue that nothing uses."""
_RETURNED = ".returned"

Kind = Literal["priorities", "keys"]
"""What the lanes are for that only some options make."""
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Defaults:
    """The driver's defaults for its queues, in seconds."""

    queue_ttl: float | None = None
    queue_expiry: float | None = None


@dataclass(frozen=True)
class Lane:
    """One queue at the broker; several together are a queue of ours."""

    name: str
    is_returned: bool
    """Whether it holds messages returned unused: they come before the rest of their priority."""
    arguments: Mapping[str, Any]
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    is_partition: bool = False
    """Whether it holds messages of some keys: one process at a time gets them, and one after the other."""
    consumer_timeout: int = 0
    """Milliseconds for which one of its messages may be held."""

    def declare(self) -> commands.Queue.Declare:
        """What makes it."""
        return commands.Queue.Declare(
            queue=self.name,
            durable=self.durable,
            exclusive=self.exclusive,
            auto_delete=self.auto_delete,
            arguments=dict(self.arguments),
        )

    def shown(self) -> str:
        """Its properties and arguments for people."""
        flags = [name for name in ("durable", "exclusive", "auto_delete") if getattr(self, name)]
        return ", ".join([*flags, *(f"{key}={value!r}" for key, value in sorted(self.arguments.items()))])


class KnownQueue(NamedTuple):
    """A queue of ours, and its queues at the broker."""

    spec: QueueSpec
    lanes: Sequence[Lane]


def is_quorum(spec: QueueSpec) -> bool:
    """Whether a queue is replicated and synced, and its returns are counted by the broker.

    A temporary one is not: it lives with one process, and a quorum queue is expensive to make.
    """
    return not spec.temporary and bool(spec.options.get("queue_type", "quorum") == "quorum")


def lanes(spec: QueueSpec, defaults: Defaults) -> list[Lane]:
    """The queues of a queue: its own first, one for what comes back unused, and one for each priority above 0."""
    options = spec.options
    found = [_lane(spec, defaults, spec.name)]
    if is_quorum(spec):
        found.append(Lane(return_lane(spec), True, _quorum(options, {})))
    elif is_bounded(spec):
        bounds = {"x-max-length", "x-max-length-bytes"}
        own = {key: value for key, value in found[0].arguments.items() if key not in bounds}
        found.append(replace(found[0], name=return_lane(spec), is_returned=True, arguments=own))
    if spec.priorities and is_quorum(spec):
        found += [_lane(spec, defaults, priority_lane(spec.name, p)) for p in range(1, MAX_PRIORITY + 1)]
    if spec.ordering == "key":
        alone = {"x-single-active-consumer": True}
        names = (f"{spec.name}.k{number}" for number in range(_partitions(spec)))
        found += [Lane(name, False, _quorum(options, alone), is_partition=True) for name in names]
    return found


def other_lanes(spec: QueueSpec, defaults: Defaults) -> list[Lane]:
    """The queues that the queue would have with other options: with priorities, with an order per key."""
    own = {lane.name for lane in lanes(spec, defaults)}
    options = {**spec.options, "partitions": MOST_PARTITIONS}
    most = lanes(replace(spec, ordering="key", priorities=True, options=options), defaults)
    return [lane for lane in most if lane.name not in own]


def further_lanes(queue: str, lanes: Sequence[Lane]) -> dict[Kind, list[Lane]]:
    """The lanes that only some options make, by kind; a kind without lanes is left out."""
    kinds: dict[Kind, list[Lane]] = {}
    for lane in lanes:
        if lane.is_partition:
            kinds.setdefault("keys", []).append(lane)
        elif not lane.is_returned and lane.name != queue:
            kinds.setdefault("priorities", []).append(lane)
    return kinds


def has_ranks(lanes: Sequence[Lane]) -> bool:
    """Whether some of their messages go before others."""
    shared = [lane for lane in lanes if not lane.is_partition]
    return len(shared) > 2 or any("x-max-priority" in lane.arguments for lane in shared)


def partition_lane(spec: QueueSpec, key: str) -> str:
    """The lane of messages with a key; the same in every process."""
    return f"{spec.name}.k{zlib.crc32(key.encode()) % _partitions(spec)}"


def _partitions(spec: QueueSpec) -> int:
    return int(spec.options.get("partitions") or PARTITIONS)


def priority_lane(queue: str, priority: int) -> str:
    """The lane of messages with a priority."""
    return f"{queue}.p{min(priority, MAX_PRIORITY)}" if priority > 0 else queue


def return_lane(spec: QueueSpec) -> str:
    """Where messages come back to: the lane for it, which is never full, or the queue itself."""
    return returned_name(spec.name) if is_quorum(spec) or is_bounded(spec) else spec.name


def returned_name(queue: str) -> str:
    """The name of that lane."""
    return f"{queue}{_RETURNED}"


def whole_name(lane: str) -> str:
    """The name of the queue to which messages return in this lane: in that lane, or in the queue itself."""
    return lane.removesuffix(_RETURNED)


def is_bounded(spec: QueueSpec) -> bool:
    """Whether it may be full: it would then refuse a delayed message at its time, which would block a delay queue."""
    return bool(spec.options.get("max_length") or spec.options.get("max_length_bytes"))


def active_queue_name(queue: str) -> str:
    """The queue whose message is with the process that may consume a queue."""
    return f"{queue}.active"


def given_up() -> commands.Queue.Declare:
    """The queue for what the broker gives up."""
    return commands.Queue.Declare(queue=GIVEN_UP, durable=True, arguments={"x-queue-type": "quorum"})


def _lane(spec: QueueSpec, defaults: Defaults, name: str) -> Lane:
    options = spec.options
    own: dict[str, Any] = {}
    _milliseconds(own, "x-message-ttl", options.get("message_ttl") or defaults.queue_ttl)
    expiry = options.get("queue_expiry") or defaults.queue_expiry
    _milliseconds(own, "x-expires", min(expiry or KEPT, KEPT) if spec.temporary else expiry)
    if options.get("max_length"):
        own["x-max-length"] = options["max_length"]
    if options.get("max_length_bytes"):
        own["x-max-length-bytes"] = options["max_length_bytes"]
    if options.get("single_active_consumer"):
        own["x-single-active-consumer"] = True
    if is_quorum(spec):
        return Lane(name, False, _quorum(options, own))
    if spec.priorities:
        own["x-max-priority"] = MAX_PRIORITY
    own |= {"x-queue-type": "classic", "x-overflow": "reject-publish"}
    if options.get("dead_letter_exchange") is not None:
        own |= _dead_letters(options)
    return Lane(
        name,
        False,
        own,
        durable=options.get("durable", True),
        exclusive=options.get("exclusive", False),
        auto_delete=options.get("auto_delete", False),
    )


def _quorum(options: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": options.get("delivery_limit") or DELIVERY_LIMIT,
        "x-overflow": "reject-publish",
        "x-dead-letter-strategy": "at-least-once",
        **_dead_letters(options),
        **own,
    }


def _dead_letters(options: Mapping[str, Any]) -> dict[str, Any]:
    """Where the broker puts what it gives up: the user's exchange, or our queue for it."""
    exchange = options.get("dead_letter_exchange")
    if exchange is None:
        return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": GIVEN_UP}
    key = options.get("dead_letter_routing_key")
    return {"x-dead-letter-exchange": exchange, **({"x-dead-letter-routing-key": key} if key else {})}


def _milliseconds(arguments: dict[str, Any], name: str, seconds: float | None) -> None:
    if seconds:
        arguments[name] = max(round(seconds * 1000), 1)


ARGUMENT = "x-consumer-timeout"
"""How long a delivery may stay unsettled: RabbitMQ ends the channel (4.3: the consumer) that holds one for longer.

The broker's default is 30 minutes, and the time that a message lies in the buffer of a process counts. Up to 4.2 an
argument of the queue replaces the default, for queues of both types; a policy that says less wins, and a queue that was
made without the argument keeps the default, which nothing in the protocol tells. From 4.3 on quorum queues alone know a
timeout, an argument of the consumer wins over all, and a declaration must repeat the argument that the queue has.
"""

_OTHER = re.compile(
    rf"inequivalent arg '{ARGUMENT}' for queue '(.+)' in vhost .* but current is (?:none|the value '(\d+)')"
)

_REFUSED = re.compile(rf"invalid arg '{ARGUMENT}' for queue '(.+)' in vhost")


def limited(lanes: Sequence[Lane], spec: QueueSpec) -> list[Lane]:
    """The lanes of a queue with the timeout that its option asks for; a temporary queue takes the broker's."""
    if spec.temporary:
        return list(lanes)
    limit = max(round((spec.options.get("consumer_timeout") or CONSUMER_TIMEOUT) * 1000), 1)
    return [replace(lane, arguments={**lane.arguments, ARGUMENT: limit}, consumer_timeout=limit) for lane in lanes]


def of_consumer(lane: Lane) -> dict[str, int]:
    """The argument of a lane's consumers: 4.3 obeys it in a quorum queue and refuses it elsewhere, others ignore it."""
    return {ARGUMENT: lane.consumer_timeout} if lane.arguments.get("x-queue-type") == "quorum" else {}


def fitted_to(lanes: Sequence[Lane], refusal: str) -> list[Lane] | None:
    """The lanes as the broker takes them, if it refused a declaration for this argument; None if for something else.

    They are declared in order, so the ones before the refused lane are right.
    """
    found = _OTHER.search(refusal)
    refused = found or _REFUSED.search(refusal)
    if refused is None:
        return None
    current = int(found[2]) if found is not None and found[2] else None
    index = next((index for index, lane in enumerate(lanes) if lane.name == refused[1]), None)
    if index is None or lanes[index].arguments.get(ARGUMENT) == current:
        return None
    return [*lanes[:index], *(_with(lane, current) for lane in lanes[index:])]


def _with(lane: Lane, current: int | None) -> Lane:
    others = {key: value for key, value in lane.arguments.items() if key != ARGUMENT}
    return replace(lane, arguments={**others, ARGUMENT: current} if current is not None else others)
