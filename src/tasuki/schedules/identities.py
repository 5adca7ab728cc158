"""Identities: the schedules of an application, and the time of their first sight; no I/O.

Applications may share a broker, a store and a namespace. Each set of schedules has its own mark, so that none moves the
mark of another: a set is found again by the identities that it shares with its last version.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b

from tasuki.schedules.schedule import Schedule
from tasuki.schedules.times.timing import Timing

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
        self._shards: list[dict[bytes, int]] = [{} for _ in range(SHARDS)]

    def read(self, shard: bytes) -> None:
        """Take note of the content of a shard; a broken end is passed over."""
        shards = self._shards
        for start in range(0, len(shard) - _KNOWN.size + 1, _KNOWN.size):
            key, since = _KNOWN.unpack_from(shard, start)
            shards[key[0] % SHARDS][key] = since

    def see(self, schedules: Iterable[tuple[bytes, Schedule]], now: int) -> tuple[list[Schedule], set[int]]:
        """The schedules with the moment from which their ticks are due, and the numbers of the shards that changed.

        A schedule that is new, or has another timing than before, begins now.
        """
        found: list[Schedule] = []
        changed: set[int] = set()
        for own, schedule in schedules:
            key = _key(own, schedule)
            shard = self._shards[key[0] % SHARDS]
            since = shard.get(key)
            if since is None or since > now + SET_BACK:
                since = shard[key] = now
                changed.add(key[0] % SHARDS)
            found.append(replace(schedule, since=since))
        return found, changed

    def since(self, own: bytes, schedule: Schedule) -> int | None:
        """Since when a schedule is known with its timing; None: it is not."""
        key = _key(own, schedule)
        return self._shards[key[0] % SHARDS].get(key)

    def shard(self, number: int) -> bytes:
        """The content of a shard, to be stored."""
        return b"".join(_KNOWN.pack(key, since) for key, since in sorted(self._shards[number].items()))

    def filled(self) -> set[int]:
        """The numbers of the shards that have schedules."""
        return {number for number, shard in enumerate(self._shards) if shard}

    def has_too_many(self, count: int) -> bool:
        """Whether others than ``count`` schedules are more than half: they may be forgotten."""
        return sum(map(len, self._shards)) > 2 * count + SHARDS

    def forget_others(self, schedules: Mapping[bytes, Schedule]) -> set[int]:
        """Drop others than these; the numbers of the shards that may have changed."""
        kept = {_key(own, schedule) for own, schedule in schedules.items()}
        self._shards = [{key: since for key, since in shard.items() if key in kept} for shard in self._shards]
        return set(range(SHARDS))


def _key(own: bytes, schedule: Schedule) -> bytes:
    return blake2b(own + _text(schedule.timing), digest_size=8).digest()


@lru_cache(maxsize=16_384)
def _text(timing: Timing) -> bytes:
    return repr(timing).encode()
