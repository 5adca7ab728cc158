"""Identities: which schedules an application has, and since when they are known; no I/O.

Applications may share a broker, a store and a namespace. Each set of schedules has its own mark, so that none moves the
mark of another: a set is found again by the identities that it shares with its last version.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b

from tasuki.schedules.schedule import Schedule

SKETCH = 64
"""Identities that stand for a set: its smallest ones. A version with some new schedules shares most of them."""
SHARDS = 64
"""Records into which the known schedules of a set are divided."""
SET_BACK = 3600
"""Seconds by which a clock may be set back, and no tick comes twice; a moment further ahead is of a wrong clock."""
_KNOWN = struct.Struct(">8sq")


def identity(id: str, queue: str) -> bytes:
    """Of a schedule: 8 bytes of a hash of its id and of its queue's name at the broker."""
    return blake2b(f"{id}\0{queue}".encode(), digest_size=8).digest()


def sketch(identities: Iterable[bytes]) -> list[str]:
    """The smallest identities of a set, as text."""
    return [each.hex() for each in heapq.nsmallest(SKETCH, identities)]


def find_scope(own: list[str], known: Mapping[str, Iterable[str]]) -> str:
    """The scope of a set of schedules: of the known ones the one that shares most with it, else a new one.

    Args:
        own: its sketch, not empty.
        known: the sketch of each scope.
    """
    shared = {scope: len(set(own).intersection(theirs)) for scope, theirs in known.items()}
    best = max(shared, key=lambda scope: (shared[scope], scope), default="")
    return best if best and shared[best] else own[0]


class KnownSchedules:
    """Since when each schedule of a set has its timing, in UTC seconds, as the store keeps it in shards."""

    def __init__(self) -> None:
        self._since: dict[bytes, int] = {}

    def read(self, shard: bytes) -> None:
        """Take note of the content of a shard; a broken end is passed over."""
        for start in range(0, len(shard) - _KNOWN.size + 1, _KNOWN.size):
            key, since = _KNOWN.unpack_from(shard, start)
            self._since[key] = since

    def see(self, schedules: Mapping[bytes, Schedule], now: int) -> tuple[list[Schedule], set[int]]:
        """The schedules with the moment from which their ticks are due, and the numbers of the shards that changed.

        A schedule that is new, or has another timing than before, begins now.
        """
        found: list[Schedule] = []
        changed: set[int] = set()
        for own, schedule in schedules.items():
            key = _key(own, schedule)
            since = self._since.get(key)
            if since is None or since > now + SET_BACK:
                since = self._since[key] = now
                changed.add(_shard(key))
            found.append(replace(schedule, since=since))
        return found, changed

    def since(self, own: bytes, schedule: Schedule) -> int | None:
        """Since when a schedule is known with its timing; None: it is not."""
        return self._since.get(_key(own, schedule))

    def shard(self, number: int) -> bytes:
        """The content of a shard, to be stored."""
        return b"".join(_KNOWN.pack(key, since) for key, since in sorted(self._since.items()) if _shard(key) == number)

    def forget_others(self, schedules: Mapping[bytes, Schedule]) -> set[int]:
        """Drop others than these, once they are more than half; the numbers of the shards that may have changed."""
        kept = {_key(own, schedule) for own, schedule in schedules.items()}
        if len(self._since) <= 2 * len(kept) + SHARDS:
            return set()
        self._since = {key: since for key, since in self._since.items() if key in kept}
        return set(range(SHARDS))


def _key(own: bytes, schedule: Schedule) -> bytes:
    return blake2b(own + repr(schedule.timing).encode(), digest_size=8).digest()


def _shard(key: bytes) -> int:
    return key[0] % SHARDS
