"""Names at the server: streams, subjects and consumers of a queue, and the lane that a message takes.

A stream is ``<prefix>+<queue>``, its subjects are ``<prefix>.q.<queue>.<lane>``, or ``<prefix>.o.<queue>.<lane>`` while
the queue is declared with order per key: a process which does not know of the order yet cannot publish past it then.
``.`` becomes ``~``, and any character but a letter, a digit, ``_`` and ``-`` becomes ``=`` and two hexadecimal digits a
byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from zlib import crc32

from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki.errors import UnsupportedError

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
    """The lanes of a queue.

    A plain queue has one lane. With priorities there is one more for each level, asked from the highest down. With
    order per key there is a fixed number of partitions, each with at most one delivery at a time: strict order within a
    partition, and so within each key. A queue's lanes are written into its stream, because earlier lanes must be
    emptied too. The first unique message adds a lane for unique messages: there each key has a separate subject, so
    that the server stores one message of it. The first delayed message adds a lane for delayed ones, so that no ready
    message waits behind them; a delayed message with a priority, a unique key or an order per key stays in its lane.
    """

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


LONGEST = 255
"""Characters in a stream's name."""

_OTHER = re.compile(rb"[^A-Za-z0-9_.-]")
_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,64}")
_WRITTEN = re.compile(rb"=([0-9A-F]{2})")


def token_of(queue: str) -> str:
    """The queue's name as one part of a subject."""
    plain = _OTHER.sub(lambda found: b"=%02X" % found[0][0], queue.encode())
    return plain.decode().replace(".", "~")


def queue_of(token: str) -> str:
    """The queue's name out of its token."""
    plain = token.replace("~", ".").encode("latin-1")
    return _WRITTEN.sub(lambda found: bytes([int(found[1], 16)]), plain).decode()


class Names:
    """The names of one prefix; raises UnsupportedError for one that the server would read otherwise."""

    def __init__(self, prefix: str) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise UnsupportedError(f"stream_prefix {prefix[:80]!r}: use letters, digits, '_' and '-', at most 64")
        self.prefix = prefix
        self.records_stream = f"{prefix}+=book"
        """The stream of what the driver itself keeps; no token begins like that."""
        self.record_subjects = f"{prefix}.b.>"
        self.layout = f"{prefix}.b.v"
        """Where the records have the layout of all streams of the prefix."""

    def stream(self, queue: str) -> str:
        """The stream of a queue. Raises UnsupportedError if the name is too long for the server."""
        name = f"{self.prefix}+{token_of(queue)}"
        if len(name) > LONGEST:
            raise UnsupportedError(
                f"queue {queue[:80]!r} has too long a name for NATS: with its prefix {len(name)} characters, at most "
                f"{LONGEST}; give it a shorter queue_name",
                queue=queue,
            )
        return name

    def subject(self, queue: str, lane: str, *, ordered: bool = False) -> str:
        """Where messages of a lane are published; ``>`` for all lanes."""
        return f"{self.prefix}.{'o' if ordered else 'q'}.{token_of(queue)}.{lane}"

    def filter(self, queue: str, lane: str, *, ever_ordered: bool) -> str:
        """What finds all messages of a lane in the queue's stream."""
        return f"{self.prefix}.{'*' if ever_ordered else 'q'}.{token_of(queue)}.{lane}"

    def returned(self, queue: str, epoch: str, sequence: int | str, *rest: int | str) -> str:
        """Where the notes on what became of a message are; ``>`` and ``*`` stand for any."""
        return ".".join(map(str, (self.prefix, "b", "r", token_of(queue), epoch, sequence, *rest)))

    def receiver(self, queue: str, who: str) -> str:
        """Where a process reports that it receives from the queue; ``*`` for all."""
        return f"{self.prefix}.b.c.{token_of(queue)}.{who}"

    def line(self, who: str) -> str:
        """Where a process answers what it holds."""
        return f"{self.prefix}.l.{who}"

    def temporary(self, queue: str) -> str:
        """Where the sign of life of a temporary queue is; ``*`` for all."""
        return f"{self.prefix}.b.t.{queue if queue == '*' else token_of(queue)}"

    def ids_stream(self, queue: str) -> str:
        """The stream of a queue's ids."""
        name = f"{self.prefix}+=ids+{token_of(queue)}"
        return name if len(name) <= LONGEST else f"{self.prefix}+=ids+=hash+{blake2b(queue.encode()).hexdigest()[:64]}"

    def id_subject(self, queue: str, digest: str) -> str:
        """Where an id is noted; ``*`` for all."""
        return f"{self.prefix}.i.{token_of(queue)}.{digest}"

    def store_stream(self, store: str) -> str:
        """The stream of a store."""
        name = f"{self.prefix}+=store+{token_of(store)}"
        return (
            name if len(name) <= LONGEST else f"{self.prefix}+=store+=hash+{blake2b(store.encode()).hexdigest()[:64]}"
        )

    def store_subject(self, part: str) -> str:
        """What the subjects of a store begin with; ``part`` is its name as part of a subject."""
        return f"{self.prefix}.s.{part}"
