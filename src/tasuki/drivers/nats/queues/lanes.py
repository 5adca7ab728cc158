"""Lanes: the subjects and consumers of one queue, and which of them a message takes.

A plain queue has one lane. With priorities there is one more for each level, asked from the highest down. With order
per key there is a fixed number of partitions, each with at most one delivery at a time: strict order within a
partition, and so within each key. A queue's lanes are written into its stream,
because those that once were must be emptied too. The first unique message adds a lane for those: there each key has a
separate subject, so that the server stores one message of it. The first delayed message adds one for those, so that
no ready message waits behind them; one with a priority, a unique key or an order per key stays in the lane of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from zlib import crc32

from tasuki.contracts.driver import Outgoing, QueueSpec

PLAIN = "m"
UNIQUE = "u"
"""The lane of unique messages."""
DELAYED = "d"
"""The lane of messages that are published with a delay."""
MADE_LATER = (UNIQUE, DELAYED)
"""The lanes that their first message makes."""
PARTITIONS = 16
"""Partitions of a queue with order per key, if its options do not say otherwise."""

_PRIORITIES = "tasuki.priorities"
_PARTITIONS = "tasuki.partitions"
_ORDERING = "tasuki.ordering"
_LATER = {UNIQUE: "tasuki.unique", DELAYED: "tasuki.delayed"}


@dataclass(frozen=True, slots=True)
class Lane:
    """One subject with its consumer; lanes of a lower ``rank`` are asked first."""

    name: str
    rank: int
    one_at_a_time: bool = False

    @property
    def tail(self) -> str:
        """What the subjects of its messages end with; ``*`` stands for any key."""
        return f"{UNIQUE}.*" if self.name == UNIQUE else self.name


@dataclass(frozen=True, slots=True)
class Plan:
    """The lanes of a queue."""

    priorities: bool = False
    partitions: int = 0
    """0: never had order per key."""
    ordered: bool = False
    """Whether order per key holds now."""
    later: frozenset[str] = frozenset()
    """The lanes of ``MADE_LATER`` that were made: there ever was such a message."""

    @property
    def ever_ordered(self) -> bool:
        """Whether order per key holds, or once held."""
        return self.partitions > 0

    def lanes(self) -> list[Lane]:
        """All lanes, the plain one first."""
        found = [Lane(PLAIN, 9)]
        if self.priorities:
            found += [Lane(f"p{level}", 9 - level) for level in range(1, 10)]
        found += [Lane(name, 9) for name in MADE_LATER if name in self.later]
        return found + [Lane(f"k{number}", 9, self.ordered) for number in range(self.partitions)]

    def lane_of(self, message: Outgoing) -> str:
        """The lane that a message takes; one with a key keeps its order, and has no priority.

        A unique message has neither, see ``refusal_of``.
        """
        if message.unique is not None:
            return f"{UNIQUE}.{digest(message.unique.key)}"
        if self.ordered and message.key is not None:
            return f"k{crc32(message.key.encode()) % self.partitions}"
        if message.priority > 0:
            return f"p{min(message.priority, 9)}"
        return DELAYED if message.delay > 0 else PLAIN

    def missing(self, message: Outgoing) -> str | None:
        """The lane that must be made before this message can go."""
        if message.unique is None and message.delay <= 0:
            return None
        name = self.lane_of(message).partition(".")[0]
        return name if name in MADE_LATER and name not in self.later else None

    def metadata(self) -> dict[str, str]:
        """The plan as a stream can keep it."""
        return {
            _PRIORITIES: str(self.priorities).lower(),
            _PARTITIONS: str(self.partitions),
            _ORDERING: "key" if self.ordered else "none",
            **{_LATER[name]: "true" for name in MADE_LATER if name in self.later},
        }


def digest(text: str) -> str:
    """An id or a key as part of a subject: those may hold any text of any length."""
    return blake2b(text.encode(), digest_size=16).hexdigest()


def plan_of(spec: QueueSpec) -> Plan:
    """The lanes that a new queue needs."""
    ordered = spec.ordering == "key"
    partitions = int(spec.options.get("partitions", PARTITIONS)) if ordered else 0
    return Plan(spec.priorities, partitions, ordered)


def plan_in(metadata: Mapping[str, str] | None) -> Plan:
    """The lanes that a stream has."""
    kept = metadata or {}
    partitions = kept.get(_PARTITIONS, "0")
    return Plan(
        kept.get(_PRIORITIES) == "true",
        int(partitions) if partitions.isdecimal() else 0,
        kept.get(_ORDERING) == "key",
        frozenset(name for name, key in _LATER.items() if kept.get(key) == "true"),
    )


def merged(old: Plan, new: Plan) -> Plan:
    """The lanes of a queue that is declared again: none goes away, and keys keep their partitions.

    A different number of partitions counts only for a queue that never had any: a key would be in two at once.
    """
    partitions = old.partitions or new.partitions
    return Plan(old.priorities or new.priorities, partitions, new.ordered, old.later | new.later)
