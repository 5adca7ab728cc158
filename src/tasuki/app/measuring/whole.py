"""Whole: the depth of a queue whose broker does not tell all of it, from what processes say; no I/O.

See docs/adr/0055-counts-that-no-broker-tells.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from tasuki.contracts.driver import Depth, Kept

if TYPE_CHECKING:
    from tasuki.state.worker_record import Presence

DELAYS = "delays/"
"""Prefix of the keys: the notes of processes, and when queues were purged."""
_BY, _PURGED = f"{DELAYS}by/", f"{DELAYS}purged/"


class Delays(msgspec.Struct, frozen=True, array_like=True):
    """Delayed messages of one queue that a process noted; times are Unix times of the store."""

    driver: str
    queue: str
    """Its name at the broker."""
    since: float
    """When the first of them may have been published."""
    ends: Sequence[tuple[float, int]]
    """When delays end, and how many do then."""


class Purge(msgspec.Struct, frozen=True, array_like=True):
    """When a queue was purged, by the clock of the store."""

    driver: str
    queue: str
    at: float


@dataclass(frozen=True, slots=True)
class Told:
    """A store's report on the processes that have its queues."""

    workers: Sequence[Presence] = ()
    delays: Sequence[Delays] = ()
    purges: Sequence[Purge] = ()
    now: float = 0.0
    """Unix time of the store."""


_Notes = list[Delays]
_encoder = msgspec.json.Encoder()
_notes, _purge = msgspec.json.Decoder(_Notes), msgspec.json.Decoder(Purge)


@dataclass(slots=True)
class Notes:
    """The entries under ``DELAYS``; entries of another version that cannot be read are left out."""

    delays: list[Delays] = field(default_factory=list)
    purges: list[Purge] = field(default_factory=list)

    def add(self, key: str, value: bytes, *, but: str = "") -> None:
        """Read one entry, unless it is of the process ``but``."""
        try:
            if key.startswith(_PURGED):
                self.purges.append(_purge.decode(value))
            elif key != key_by(but):
                self.delays += _notes.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass


def key_by(process: str) -> str:
    """The key of a process's notes."""
    return _BY + process


def key_of_purge(driver: str, queue: str) -> str:
    """The key of the last purge of a queue."""
    return _PURGED + blake2b(f"{driver}\n{queue}".encode(), digest_size=12).hexdigest()


def encode(entry: Sequence[Delays] | Purge) -> bytes:
    """The value of an entry."""
    return _encoder.encode(entry)


def is_whole(depth: Depth) -> bool:
    """Whether the broker tells all of it."""
    return depth.in_flight is not None and depth.delayed is not None


def whole(depth: Depth, kept: Kept, own: Iterable[Delays], told: Told | None, *, driver: str, queue: str) -> Depth:
    """The depth with what processes tell; unknown numbers stay None.

    ``kept`` and ``own``: what this process has, which ``told`` lacks; ``told``: None where no state tells, or it cannot
    be read; ``driver``: the id of its entry; ``queue``: its name at the broker.
    """
    if is_whole(depth) or told is None:
        return depth
    from tasuki.state.worker_record import held_of

    held, in_flight, delayed = held_of(told.workers, queue, driver), depth.in_flight, depth.delayed
    ready = depth.ready - kept.unused
    if in_flight is None and held is not None:
        in_flight = held + kept.held
    else:
        ready = depth.ready
    if delayed is None:
        delayed = _delayed([*told.delays, *own], told, driver, queue)
    return replace(depth, ready=ready, in_flight=in_flight, delayed=delayed, is_estimate=True)


def _delayed(notes: Iterable[Delays], told: Told, driver: str, queue: str) -> int | None:
    purged = max((each.at for each in told.purges if (each.driver, each.queue) == (driver, queue)), default=0.0)
    count = 0
    for note in notes:
        left = sum(number for end, number in note.ends if end > told.now)
        if not left or (note.driver, note.queue) != (driver, queue):
            continue
        if note.since <= purged:
            return None  # the purge took some of them, or all
        count += left
    return count
