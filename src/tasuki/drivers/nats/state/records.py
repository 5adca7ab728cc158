"""Records: the keys of a store ⇄ subjects, its values ⇄ messages of its stream; no I/O.

``<base>.e.<part>.<part>…`` has an entry, ``b`` in place of ``e`` a bucket, ``h`` the holders of places. A part lies
between two slashes of the key, and is written as the names of queues are; an empty one is ``=``. The time of a message
is the server's, and so is the time at which a reader asks: a message only says how long it counts.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from math import ceil, inf
from typing import Any, NamedTuple

from tasuki.drivers.nats.protocol.api import data_of, seconds_of
from tasuki.drivers.nats.queues.names import Names, queue_of, token_of
from tasuki.drivers.toolkit.limits import Bucket

_TTL = b"Tasuki-TTL"
"""Seconds for which the message counts, from its time on."""
_GONE = b"Tasuki-Gone"
"""The version of the entry that this message has removed."""
_MARK = b"Tasuki-Mark"
"""A random number, which is a part of the version."""
_MARK_BITS = 20
_LEAST_UNIQUE = 2**40
"""From here on a sequence is a time (see ``stream``), and comes only once."""
MARKED = 60.0
"""Seconds for which the note of a removal stays: watches hear of it at once, or list again."""
_LONGEST = 10**9
"""Seconds of the longest ttl that the server gets."""


class Record(NamedTuple):
    """The last message of a subject."""

    sequence: int
    value: bytes
    written_at: float
    ttl: float
    removed: int = 0
    """The version of the entry that was removed; 0: it was not."""
    mark: int = 0

    @property
    def version(self) -> int:
        """See ``version_of``."""
        return version_of(self.sequence, self.mark)

    @property
    def ends(self) -> float:
        """When it counts no longer."""
        return self.written_at + self.ttl

    def lives(self, now: float) -> bool:
        """Whether there is such an entry."""
        return not self.removed and self.ends > now


def new_mark() -> int:
    """The mark of a message that is to be written."""
    return secrets.randbelow(2**_MARK_BITS)


def version_of(sequence: int, mark: int) -> int:
    """The version of an entry. It rises with the sequence.

    A server whose files were put back to an earlier state gives the later sequences again: the mark tells such entries
    apart.
    """
    return sequence if sequence >= _LEAST_UNIQUE else sequence << _MARK_BITS | mark


def record_in(message: Mapping[str, Any]) -> Record:
    """The record in the answer to a request for a message."""
    headers = base64.b64decode(message.get("hdrs") or "")
    return Record(int(message["seq"]), data_of(message), seconds_of(message["time"]), *read_headers(headers))


def read_headers(headers: bytes | None) -> tuple[float, int, int]:
    """How many seconds a message counts, what it has removed, and its mark."""
    ttl, removed, mark = inf, 0, 0
    for line in (headers or b"").split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == _TTL:
            ttl = float(value)
        elif name == _GONE:
            removed = int(value)
        elif name == _MARK:
            mark = int(value)
    return ttl, removed, mark


def headers_of(
    *, ttl: float = inf, removed: int = 0, mark: int = 0, expected: int | None = None, tells_server: bool = False
) -> bytes:
    """The headers of a message; ``expected``: the sequence that the last message of its subject must have; 0: none.

    ``tells_server``: the server itself removes the message later than its ttl.
    """
    lines = [b"%b: %d" % (_MARK, mark)] if mark else []
    if removed:
        ttl = MARKED
        lines.append(b"%b: %d" % (_GONE, removed))
    if ttl < inf:
        lines.append(b"%b: %b" % (_TTL, repr(ttl).encode()))
        if tells_server and ttl < _LONGEST:
            lines.append(b"Nats-TTL: %ds" % (ceil(max(ttl, 0.0)) + 2))
    if expected is not None:
        lines.append(b"Nats-Expected-Last-Subject-Sequence: %d" % expected)
    return b"\r\n".join([b"NATS/1.0", *lines, b"", b""]) if lines else b""


def write_bucket(bucket: Bucket) -> bytes:
    """A bucket as it is stored."""
    return json.dumps(bucket).encode()


def read_bucket(record: Record | None) -> Bucket | None:
    """A stored bucket; None: there is none."""
    return None if record is None else Bucket(*json.loads(record.value))


def write_places(holders: Mapping[str, float]) -> bytes:
    """The holders and the ends of their leases, as they are stored."""
    return json.dumps(holders).encode()


def read_places(record: Record | None, now: float) -> dict[str, float]:
    """The holders whose lease has not ended, and its end."""
    found: dict[str, float] = json.loads(record.value) if record is not None else {}
    return {holder: end for holder, end in found.items() if end > now}


_EMPTY = "="
"""No written name is that."""


def part_of(text: str) -> str:
    """A text as one part of a subject."""
    return token_of(text) or _EMPTY


class StoreSubjects:
    """The stream and the subjects of one store. Raises UnsupportedError for too long a name."""

    def __init__(self, names: Names, store: str) -> None:
        self.stream = names.store_stream(store)
        base = names.store_subject(part_of(store))
        self.all = f"{base}.>"
        self._base = base
        self._entries = f"{base}.e."

    def entry(self, key: str) -> str:
        """Where an entry is."""
        return self._entries + _path(key)

    def bucket(self, key: str) -> str:
        """Where a bucket is."""
        return f"{self._base}.b.{_path(key)}"

    def places(self, key: str) -> str:
        """Where the holders of places are."""
        return f"{self._base}.h.{_path(key)}"

    def entries(self, prefix: str) -> str:
        """What finds all entries whose key begins with the prefix, and some more: by its whole parts."""
        parts = prefix.split("/")[:-1]
        return self._entries + "".join(f"{part_of(part)}." for part in parts) + ">"

    def key(self, subject: str) -> str:
        """The key of an entry's subject. Raises ValueError for one that no store has written."""
        path = subject.removeprefix(self._entries)
        if "=" not in path and "~" not in path:
            return path.replace(".", "/")
        parts = path.split(".")
        return "/".join("" if part == _EMPTY else queue_of(part) for part in parts)


def _path(key: str) -> str:
    return ".".join(map(part_of, key.split("/")))
