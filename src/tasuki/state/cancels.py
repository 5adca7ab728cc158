"""Cancels: the records of cancelled messages, and the ids of one queue that this process read last; no I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from tasuki.message import new_id
from tasuki.state.controls import CONTROL, Controls
from tasuki.state.keys import part_of

TTL = 7 * 86400.0
"""Seconds for which a message stays cancelled, whatever brings it back."""
ANSWERS = "cancelled/"
"""Prefix of the keys under which workers answer, each for its asker."""
ANSWER_TTL = 60.0
PAGE = 500
"""Most ids of one record: a bulk is a few records, so that the watch of each worker stays small."""
_PAGE_CHARS = 100_000


_MANY = "many "
"""What the ids of shared records begin with."""


class Cancel(NamedTuple):
    """One record."""

    ids: tuple[str, ...]
    asker: str
    """Where workers say that they have one of the messages; empty: nowhere."""
    at: float = 0.0
    """When it was ordered, Unix seconds; 0: it is not known."""

    def encode(self) -> bytes:
        """The value of the record."""
        content = {"ids": self.ids, "asker": self.asker, "at": round(self.at, 3)}
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def decode(value: bytes) -> Cancel:
    """The record of a value; one that cannot be read cancels nothing."""
    try:
        found = json.loads(value)
        return Cancel(tuple(str(id) for id in found["ids"]), str(found["asker"]), float(found.get("at", 0.0)))
    except (ValueError, KeyError, TypeError, RecursionError):
        return Cancel((), "")


def key_of(queue: str, id: str) -> str:
    """The key of the record of one message, by the name of its queue at the broker."""
    return f"{CONTROL}cancel/{queue}/{part_of(id)}"


def shared_prefix(queue: str) -> str:
    """What the keys of records of several messages begin with."""
    return key_of(queue, _MANY)


def answer_key(asker: str, id: str) -> str:
    """Where a worker says whether the message waits or runs there."""
    return f"{ANSWERS}{asker}/{part_of(id)}"


def records(queue: str, ids: Sequence[str], asker: str, at: float, *, is_strict: bool) -> Iterator[tuple[str, bytes]]:
    """The keys and values that cancel these messages; ``at``: Unix seconds.

    A strict queue has a record for each message, which a worker finds by its id; others share records.
    """
    if is_strict or len(ids) == 1:
        yield from ((key_of(queue, id), Cancel((id,), asker, at).encode()) for id in ids)
        return
    for page in _pages(ids):
        yield key_of(queue, f"{_MANY}{new_id()}"), Cancel(page, asker, at).encode()


def _pages(ids: Sequence[str]) -> Iterator[tuple[str, ...]]:
    page: list[str] = []
    chars = 0
    for id in ids:
        if page and (len(page) >= PAGE or chars + len(id) > _PAGE_CHARS):
            yield tuple(page)
            page, chars = [], 0
        page.append(id)
        chars += len(id)
    if page:
        yield tuple(page)


class CancelledIds:
    """The cancelled messages of one queue.

    Args:
        controls: of the queue's state; current.
        queue: its name at the broker.
        on_change: called after a change, with the records' news: the ids that are cancelled now, and their asker.
    """

    def __init__(self, controls: Controls, queue: str, on_change: Callable[[Collection[str], str], None]) -> None:
        self._prefix = f"cancel/{queue}/"
        self._records: dict[str, Cancel] = {}
        self._ids: dict[str, int] = {}
        """By id: in how many records it is."""
        self._askers: dict[str, str] = {}
        self._on_change = on_change
        for key, value in controls.under(self._prefix):
            self._note(key, decode(value))
        self.close = controls.listen(self._prefix, self._hear)
        """Ends the listening."""

    def __contains__(self, id: object) -> bool:
        return id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def asker_of(self, id: str) -> str:
        """The last one to ask where this message is."""
        return self._askers.get(id, "")

    def _hear(self, key: str, value: bytes | None) -> None:
        record = Cancel((), "") if value is None else decode(value)
        self._note(key, record)
        self._on_change(frozenset(record.ids), record.asker)

    def _note(self, key: str, record: Cancel) -> None:
        before = self._records.pop(key, None)
        if record.ids:
            self._records[key] = record
        for id in record.ids:
            self._ids[id] = self._ids.get(id, 0) + 1
            self._askers[id] = record.asker
        for id in () if before is None else before.ids:
            self._ids[id] -= 1
            if not self._ids[id]:
                del self._ids[id], self._askers[id]
