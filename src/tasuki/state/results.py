"""Results: the record of a job whose queue has ``result``; no I/O."""

from __future__ import annotations

import msgspec

from tasuki.contracts.state.jobs import JobStatus, Progress
from tasuki.state.keys import part_of

WAITS = 7 * 86400.0
"""Seconds for which the record of a job that has not ended is kept after its last change, and after its delay."""
RESULTS = "result/"
"""Prefix of the keys: one for each message, by its queue's name at the broker and its id."""


class JobError(msgspec.Struct, frozen=True):
    """The last failure of a job."""

    text: str
    type: str = ""
    """Name of the exception's class; empty: there was none."""
    kind: str = ""
    reason: str = ""
    """Why it is given up, as its dead letter says; empty: it is tried again."""


class JobRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The latest record of a job by its worker; ``at``: Unix time of the worker."""

    status: JobStatus
    at: float
    attempt: int = 0
    value: bytes | None = None
    """The result, as ``codec`` encodes it; None: there is none, or ``problem`` says why it could not be kept."""
    codec: str = ""
    problem: str = ""
    error: JobError | None = None
    progress: Progress | None = None
    due: float | None = None
    """Until when a waiting one is delayed, as far as its publisher or its worker knows."""

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return self.status in ("done", "failed", "dead", "expired", "cancelled")

    @property
    def is_given_up(self) -> bool:
        """Whether ``error`` says why nothing follows."""
        return self.status in ("failed", "dead", "expired")

    def ttl(self, after_end: float) -> float:
        """Seconds for which it is kept; ``after_end``: of the queue's policy."""
        if self.is_final:
            return after_end
        return max(after_end, WAITS) + max((self.due or 0.0) - self.at, 0.0)


PURGES = "purged/"
"""Prefix of the notes of the last purge: one for each queue, by its name at the broker."""


_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(JobRecord)


def result_key(queue: str, id: str) -> str:
    """The key of a job."""
    return f"{RESULTS}{queue}/{part_of(id)}"


def purge_key(queue: str) -> str:
    """The key of the note of a queue's last purge; its version tells the records from before it."""
    return f"{PURGES}{queue}"


def encode(record: JobRecord) -> bytes:
    """The value under the key."""
    return _encoder.encode(record)


def decode(value: bytes) -> JobRecord | None:
    """The record of a value; None: another version wrote it in a way that this one cannot read."""
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
