"""The values of the driver contract: capabilities, queues, messages, deliveries, settlements, counts, results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import msgspec

from tasuki.errors import DriverError
from tasuki.message import Message

NACK_ERROR_CHARS = 500
"""Most characters of a nack's ``error``."""


SILENCE = 10.0
"""Seconds without a renewal after which a delivery is silent (61), of a driver that ``sees_silence``."""


Where = Literal["ready", "delayed", "held"]
"""Where a message is: waiting to be received, waiting for its time, or with a receiver."""

Receipt = Any  # opaque and hashable: only the driver that gave it can read it

Durability = Literal["memory", "process", "broker", "power", "node"]

DURABILITIES: tuple[Durability, ...] = ("memory", "process", "broker", "power", "node")
"""From little to much: each survives what those before it survive."""


Ability = Literal[
    "ordered", "ordering_key", "native_priority", "declares_priorities", "leases", "sees_deaths", "sees_silence",
    "exact_depth", "keeps_errors", "max_length", "dedup", "limits", "move", "peek", "find", "locate", "causes", "purge",
    "remove", "expedite", "transfer", "publish_within", "settle_within", "store",
]  # fmt: skip
"""What one driver can do and another cannot. A verb of a group (``move`` to ``store``) is claimed by defining it.

ordered: the messages of a publisher arrive in order (12). ordering_key: so do the messages of a key, in turn (22).
native_priority: the higher comes first (21). declares_priorities: only in a queue declared with ``priorities``.
leases: deliveries have a lease that must be extended; without it they are bound to the open driver.
sees_deaths: a delivery whose process died comes back before its lease ends (61), and one whose process lives does not.
sees_silence: it sees a death by ``SILENCE`` seconds without a renewal, so leases are renewed several times in them.
exact_depth: ``depth`` counts exactly. keeps_errors: ``peek`` shows the last error of a nack (38).
max_length, dedup, limits: it keeps these options of a queue (23; 26; 42 to 45, with lanes).
"""

GROUP_VERBS: tuple[Ability, ...] = (
    "move", "peek", "find", "locate", "causes", "purge", "remove", "expedite", "transfer", "publish_within",
    "settle_within", "store",
)  # fmt: skip
"""The verbs that a driver may leave out; the others of a group (``peek_cause``, ``claim_within``) come with these."""

DUTIES = frozenset({"native_delay", "counts_attempts", "delete"})
"""What every driver does, as ``Capabilities.has`` and ``emulates`` name it: some build it, where a broker lacks it."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Facts about a driver. The conformance suite proves each claimed fact, and skips the cases of the others."""

    durability: Durability = "memory"
    """What a confirmed message survives: nothing, a worker crash, a broker crash, a power loss, the loss of a node."""
    abilities: frozenset[Ability] = frozenset()
    unique: frozenset[str] = frozenset()
    """The spans (``pending``, ``running``, ``window``) and acts (``keep``, ``replace``, ``extend``) of ``Unique``."""
    emulates: frozenset[str] = frozenset()
    """The abilities and duties that the driver builds itself, without a feature of the broker's; for the matrix."""
    dedup_window: float | None = None
    """The only ``dedup_window`` that it can keep, in seconds; None: any."""
    max_batch: int = 1000
    """Most messages per ``publish``, ``receive``, ``settle`` and ``extend``."""
    max_message_bytes: int | None = None
    max_delay: float | None = None
    """Longest delay in seconds; None: no limit."""

    @property
    def multi_process(self) -> bool:
        """Whether several processes can open the same broker: it is outside of them."""
        return self.durability != "memory"

    def has(self, name: str) -> bool:
        """Whether it can do this: an ability, a duty, ``multi_process``, or a part as in ``unique:replace``."""
        field, _, part = name.partition(":")
        if field == "unique":
            return part in self.unique if part else bool(self.unique)
        return name in self.abilities or name in DUTIES or (name == "multi_process" and self.multi_process)

    def also(self, *names: Ability) -> Capabilities:
        """The same with further abilities."""
        return replace(self, abilities=self.abilities.union(names))

    def without(self, *names: Ability) -> Capabilities:
        """The same without some abilities."""
        return replace(self, abilities=self.abilities.difference(names))


@dataclass(frozen=True, slots=True)
class Limit:
    """How fast messages are handed out, and how many are held at once, over all receivers."""

    rate: float | None = None
    """Messages a second; None: no limit."""
    burst: int = 1
    """Most messages at once after a pause, at least 1; only with a ``rate``."""
    concurrency: int | None = None
    """Most messages held at once, at least 1; None: no limit."""


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A queue's name at the broker, and the options that the broker enforces."""

    name: str
    lease: float = 30.0
    """Seconds for which a delivery belongs to its receiver."""
    max_length: int | None = None
    """Most messages (ready, delayed and held) the queue may hold; None: no limit."""
    ordering: Literal["none", "key"] = "none"
    dedup_window: float | None = None
    """Seconds for which an id is remembered; None: ids are not remembered."""
    priorities: bool = False
    """Whether its publishers use ``priority``; some brokers must prepare a queue for it."""
    limit: Limit | None = None
    """Over the whole queue."""
    lane_limit: Limit | None = None
    """For each lane alone; only with ``fair``."""
    fair: int = 0
    """Most messages that a lane is given in its turn; 0: the queue has no lanes."""
    temporary: bool = False
    """Made for one process, which keeps it alive by having declared it, and deletes it at its end.

    After a kill the broker should delete the queue itself, some minutes later, where it can.
    """
    options: Mapping[str, Any] = field(default_factory=dict)
    """The driver's own bag, already checked against its schema."""


Span = Literal["pending", "running"] | float

Act = Literal["keep", "replace", "extend"]

SPANS: tuple[str, ...] = ("pending", "running", "window")

ACTS: tuple[Act, ...] = ("keep", "replace", "extend")


class Unique(msgspec.Struct, frozen=True, gc=False):
    """Makes a message the only one of its ``key`` in its queue; the key is 1 to 255 printable characters."""

    key: str
    span: Span = "pending"
    """While another message has the key: ``pending``, while no receiver has taken it; ``running``, while it is in the
    queue, held or not; a number: for this many seconds after it was stored."""
    act: Act = "keep"
    """What happens to that message: it is kept as it is, gets the new content, or is delayed again as well."""
    latest: float = 0.0
    """For ``extend``: seconds after the key's first message was stored, beyond which no delay reaches."""

    @property
    def needs(self) -> tuple[str, str]:
        """Its span and act, as ``Capabilities.unique`` names them."""
        return self.span if isinstance(self.span, str) else "window", self.act


class Merged(msgspec.Struct, frozen=True, gc=False):
    """The result of a publish whose key another message had: no message was added."""

    how: Literal["kept", "replaced", "extended"]
    other: str
    """Id of that message: it counts where it was ``kept``; else the published message has taken its place."""


class Outgoing(Message, gc=False):
    """A message to publish: ``delay`` in seconds from now, ``priority`` 0 to 9 (9 first), ``key`` for order per key."""

    delay: float = 0.0
    priority: int = 0
    key: str | None = None
    deduplicate: bool = True
    """False: store the message even if its id is remembered, as for a redrive or a dead letter."""
    unique: Unique | None = None
    """None: the message is stored beside all others."""
    lane: str = ""
    """Its lane in a queue with ``fair``: any text up to 255 characters; messages without a value share the lane ''."""


class Received(Message, gc=False):
    """One delivery: the message, the ``receipt`` that settles it, and its ``attempt`` (1 plus the failures so far)."""

    receipt: Receipt = None
    attempt: int = 1
    suspect: bool = False
    """Whether its last delivery ended without a settlement: its handler may have killed the worker."""
    deaths: int = 0
    """How many of the failures in ``attempt`` are recorded starts that ended without a settlement.

    0 as well from a driver whose broker keeps one count for both.
    """


class Waiting(Message, gc=False):
    """A waiting message as ``peek``, ``find`` and ``peek_cause`` show it."""

    place: str = ""
    """Names this one stored message among all of its queue, as long as it is there (57). Opaque: only the driver that
    gave it can read it."""
    delay: float = 0.0
    """Seconds until it is ready, by the broker's clock, as of the answer (60); 0: it is, or the driver does not say."""
    failures: int = 0
    """Its attempts so far that have failed (60); 0: none, or the driver does not say."""


def place_of(message: Message) -> str:
    """The place of a message that was shown; empty: its driver does not name it."""
    return message.place if isinstance(message, Waiting) else ""


class Ack(msgspec.Struct, frozen=True, gc=False):
    """Done: forget the message."""

    receipt: Receipt


class Nack(msgspec.Struct, frozen=True, gc=False):
    """Failed: show the message again after ``delay`` seconds; this delivery counts as an attempt."""

    receipt: Receipt
    delay: float = 0.0
    error: str = ""
    """Why, for ``peek``: at most ``NACK_ERROR_CHARS`` characters that UTF-8 can encode. Empty: unknown."""


SHORTEST_DELAY = 0.001
"""Seconds: the shortest delay of a release that is not the release of a message that was never started."""


class Release(msgspec.Struct, frozen=True, gc=False):
    """Never started, or postponed: requeue the message unchanged, without counting an attempt.

    It is visible at once, at the head of the queue; with a ``delay``, after that many seconds, as after a nack.
    """

    receipt: Receipt
    delay: float = 0.0


Settlement = Ack | Nack | Release


class Move(msgspec.Struct, frozen=True, gc=False):
    """Done, with following messages: ack the delivery, and publish ``messages`` to the queue ``to``.

    None of the messages has ``unique``.
    """

    receipt: Receipt
    to: str
    messages: tuple[Outgoing, ...]


class Transfer(msgspec.Struct, frozen=True, gc=False):
    """A waiting message of the id ``id`` leaves its queue, and ``message`` is stored in the queue ``to``.

    ``message`` has no ``unique``; its id may be another one.
    """

    id: str
    to: str
    message: Outgoing
    place: str = ""
    """Where the one that leaves was shown (``Waiting.place``); empty: the oldest of the id leaves."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages a queue holds; ``oldest_age``: seconds since the oldest ready one was published, or None."""

    ready: int
    in_flight: int | None
    """Messages that consumers of all processes hold; None: unknown."""
    delayed: int | None
    """Messages of all processes whose delays are not over; None: unknown."""
    oldest_age: float | None = None
    is_estimate: bool = False
    """Whether the numbers are about right: the broker counts approximately, there were too many to count, or processes
    reported some of them."""

    @property
    def waiting(self) -> int:
        """Ready and delayed messages; at least this many where ``delayed`` is unknown."""
        return self.ready + (self.delayed or 0)

    @property
    def message_count(self) -> int:
        """All messages; at least this many where a number is unknown."""
        return self.waiting + (self.in_flight or 0)


@dataclass(frozen=True, slots=True)
class Kept:
    """The counts of one process for a queue whose broker has none."""

    held: int = 0
    """Messages that the broker has delivered to it, and that are not settled."""
    unused: int = 0
    """How many of them no receive has given out: the ``depth`` of this process counts them as ready."""
    delays: Mapping[float, int] = field(default_factory=dict)
    """When delays of its messages end, by ``time.monotonic``, and how many do then."""


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Whether a queue holds messages: ``ready`` ones, and ``hidden`` ones, which are held or delayed."""

    ready: bool
    hidden: bool


RECENT, RECENT_PARTS = 3600.0, 12
"""Seconds of which ``CauseCount.recent`` tells, and in how many parts."""

NEWEST_IDS = 3
"""Ids in ``CauseCount.ids`` at most."""


@dataclass(frozen=True, slots=True)
class CauseCount:
    """Waiting messages of one cause, or of several together (``cause`` is empty); times are Unix seconds."""

    cause: str
    count: int
    first: float
    """When the oldest of them was stored."""
    last: float
    """When the newest was."""
    recent: tuple[int, ...] = (0,) * RECENT_PARTS
    """How many were stored in each twelfth of the last hour, the latest last; of several causes zeros."""
    newest: Message | None = None
    """Without its body; None of several causes."""
    ids: tuple[str, ...] = ()
    """Of the three newest at most, the newest first; none of several causes."""

    @property
    def rank(self) -> tuple[int, float, str]:
        """Its place among others: the largest first, among equals the one with the newest message."""
        return -self.count, -self.last, self.cause

    @classmethod
    def together(cls, counts: Sequence[CauseCount]) -> CauseCount | None:
        """Several as one; None of none."""
        if not counts:
            return None
        first, last = min(each.first for each in counts), max(each.last for each in counts)
        return cls("", sum(each.count for each in counts), first, last)


@dataclass(frozen=True, slots=True)
class Causes:
    """The waiting messages of a queue by their causes."""

    counts: tuple[CauseCount, ...]
    """In the order of their ``rank``."""
    rest: CauseCount | None = None
    """All further causes together."""
    unmarked: int = 0
    """Messages that have none."""

    @property
    def marked(self) -> int:
        """Messages that have a cause."""
        return sum(each.count for each in self.counts) + (self.rest.count if self.rest else 0)

    def of(self, cause: str) -> int | None:
        """How many messages have a cause; None: it is among the rest."""
        found = next((each.count for each in self.counts if each.cause == cause), None)
        return 0 if found is None and self.rest is None else found


Results = Sequence[DriverError | None]
"""One result a message or move: None where it is done, else its error."""

Answers = Sequence[DriverError | Merged | None]
"""One result a published message: None where it is stored, Merged where another one has its key, else its error."""


R = TypeVar("R", bound=DriverError | Merged | None)


def answer(results: Sequence[R]) -> Sequence[R]:
    """The results; none if all are done.

    Raises DriverError when all share their fate: errors of one type with one outcome.
    """
    if not any(results):
        return ()
    first = results[0]
    if isinstance(first, DriverError) and all(_is_same(each, first) for each in results):
        raise first
    return results


def _is_same(result: DriverError | Merged | None, first: DriverError) -> bool:
    return type(result) is type(first) and isinstance(result, DriverError) and result.outcome == first.outcome
