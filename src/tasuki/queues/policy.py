"""QueuePolicy: the rules of a queue that the framework enforces on every driver; its limits, described for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tasuki.backoff import Backoff
from tasuki.contracts.driver import Limit, QueueSpec
from tasuki.queues.messages.codec import Compression
from tasuki.queues.messages.lanes import KEY, LaneRule
from tasuki.queues.messages.rules import RetryRules
from tasuki.queues.messages.signature import Signing
from tasuki.queues.uniqueness import UniqueRule
from tasuki.units import format_rate


@dataclass(frozen=True, slots=True)
class ResultPolicy:
    """For how long a result is kept, in seconds, and how large it may be, in bytes."""

    ttl: float
    max_size: int


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """The rules of a queue that the framework enforces; sizes in bytes, durations in seconds."""

    max_message_size: int = 1024 * 1024
    """Largest body, as it is encoded and before it is compressed; asked of received bodies too."""
    max_letter_size: int = 0
    """The largest of the same of the queues whose dead letters it gets."""
    message_ttl: float | None = None
    overflow: Literal["block", "reject"] = "block"
    dead_letter: str | None = None
    """Id of the dead-letter queue."""
    max_attempts: int = 5
    drop_expired: bool = False
    retry: Backoff = field(default_factory=Backoff)
    retry_rules: RetryRules = field(default_factory=RetryRules)
    priority_advice: Callable[[], str] = field(default=lambda: "", compare=False)
    """The remedy in the error about a priority in a queue that was declared without priorities."""
    compression: Compression | None = None
    """None: bodies travel as they are encoded."""
    cancels_strictly: bool = False
    """Each message's record of cancellation is read before it starts."""
    result: ResultPolicy | None = None
    """None: what handlers return is not kept."""
    signing: Signing | None = None
    """None: messages are neither signed nor verified."""
    unique: UniqueRule | None = None
    """None: messages are unique only where their publish says so."""
    tasks: tuple[str, ...] = ()
    """Names of the tasks that its consumers have, if all of them have nothing but tasks."""
    lanes: LaneRule | None = None
    """How a message finds its lane; None: the queue has no lanes."""
    worker_limit: Limit | None = None
    """The part of its limit that its driver does not keep: workers keep it, in the store of its state."""


def limits_of(spec: QueueSpec, policy: QueuePolicy) -> list[Limit]:
    """The limits that hold its messages back, be it the driver or the workers who keep them; empty: nothing does."""
    return [*driver_limits(spec), *([] if policy.worker_limit is None else [policy.worker_limit])]


def driver_limits(spec: QueueSpec) -> list[Limit]:
    """The limits that the driver keeps, for every receive."""
    return [limit for limit in (spec.limit, spec.lane_limit) if limit is not None]


def limit_facts(spec: QueueSpec, policy: QueuePolicy) -> dict[str, Any]:
    """``limit`` and ``fair`` as its entry states them, each only if the queue has it.

    ``limit``: rate (a second) and burst, concurrency, key; a list of two, if the queue has one over all its messages
    and one with a key. ``fair``: key and share.
    """
    facts: dict[str, Any] = {}
    key = None if policy.lanes is None else KEY if policy.lanes.path is None else policy.lanes.path.text
    parts = [part for part in (spec.limit, policy.worker_limit) if part is not None]  # of one limit of the entry
    whole = {name: value for part in parts for name, value in _facts_of(part).items()}
    lane = {} if spec.lane_limit is None else {**_facts_of(spec.lane_limit), "key": key}
    if whole or lane:
        facts["limit"] = [whole, lane] if whole and lane else whole or lane
    if spec.fair:
        facts["fair"] = {"key": key, "share": spec.fair}
    return facts


def _facts_of(limit: Limit) -> dict[str, Any]:
    rate = {} if limit.rate is None else {"rate": limit.rate, "burst": limit.burst}
    return rate | ({} if limit.concurrency is None else {"concurrency": limit.concurrency})


def limit_text(limit: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Limit) -> str:
    """A limit, or a ``limit`` of ``limit_facts``, in words: ``10/s, 3 at once, for each header.tenant``."""
    limit = _facts_of(limit) if isinstance(limit, Limit) else limit
    if not isinstance(limit, Mapping):
        return "; ".join(map(limit_text, limit))
    parts = [format_rate(limit["rate"])] if "rate" in limit else []
    parts += [f"{limit['burst']} in a burst"] if limit.get("burst", 1) > 1 else []
    parts += [f"{limit['concurrency']} at once"] if "concurrency" in limit else []
    parts += [f"for each {limit['key']}"] if "key" in limit else []
    return ", ".join(parts)


def fair_text(fair: Mapping[str, Any]) -> str:
    """A ``fair`` of ``limit_facts`` in words: ``in turns by header.tenant``."""
    share = f", {fair['share']} messages a turn" if fair["share"] > 1 else ""
    return f"in turns by {fair['key']}{share}"
