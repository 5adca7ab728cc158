"""Subjects: the keys of a store ⇄ subjects of its stream; no I/O.

``<base>.e.<part>.<part>…`` has an entry, ``b`` in place of ``e`` a bucket, ``h`` the holders of places. A part lies
between two slashes of the key, and is written as the names of queues are; an empty one is ``=``.
"""

from __future__ import annotations

from tasuki.drivers.nats.queues.names import Names, queue_of, token_of

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
