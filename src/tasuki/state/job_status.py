"""Fate: the status of a message, derived from all known facts; no I/O (docs/adr/0056)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tasuki.contracts.state.jobs import JobStatus
from tasuki.contracts.values import Where
from tasuki.state.job_records import JobRecord

_SETTLING = 30.0
"""Seconds for which a worker may still hold a message whose end is recorded, until its broker takes the settlement."""

Stage = Literal["running", "waiting"]
"""Of a message that a worker has: its handler runs, or has not started."""


@dataclass(frozen=True, slots=True)
class Known:
    """The facts about a message at one moment."""

    now: float
    """Unix time."""
    here: Stage | None = None
    """A worker of this process has it."""
    keeps_records: bool = False
    """Whether a record reports each message from its publish on, or from its start on where the broker locates it."""
    record: JobRecord | None = None
    is_purged: bool = False
    """Whether its queue was purged after its record was written."""
    is_located: bool = False
    """Whether its broker says where it is, or that it does not have it."""
    where: Where | None = None
    is_running: bool = False
    """Whether the sign of a worker names it among the messages that run."""
    is_dead: bool = False
    """Whether its dead-letter queue has it."""
    is_cancelled: bool = False


def status_of(known: Known) -> JobStatus | None:
    """What has become of the message; None: nothing that is known can tell."""
    record = known.record
    if known.here is not None:
        has_ended = record is not None and record.status in ("done", "cancelled")
        return record.status if record is not None and has_ended else known.here
    if known.where == "held":
        return _of_held(known, record)
    if known.where is not None:
        return "delayed" if known.where == "delayed" else "waiting"
    if record is not None and (record.is_final or not (known.is_located or known.is_purged)):
        is_delayed = record.status == "waiting" and record.due is not None and record.due > known.now
        return "delayed" if is_delayed else record.status
    if known.is_dead or known.is_cancelled:
        return "dead" if known.is_dead else "cancelled"
    if known.is_running:
        return "running"
    return "unknown" if known.is_located or known.keeps_records else None


def _of_held(known: Known, record: JobRecord | None) -> JobStatus:
    """A worker has it: its handler runs, or has ended a moment ago, or has not started.

    An older record of a failure is of an earlier life: the message was redriven.
    """
    if record is not None and record.status in ("running", "done", "cancelled"):
        return record.status
    if record is not None and record.is_given_up and known.now - record.at < _SETTLING:
        return record.status
    if known.is_running:
        return "running"
    return "cancelled" if known.is_cancelled else "waiting"
