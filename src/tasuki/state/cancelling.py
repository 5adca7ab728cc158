"""Cancelling: record cancelled messages, remove them at the broker, and ask workers for the running ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tasuki.contracts.driver import Driver, place_of
from tasuki.contracts.state.jobs import Cancellation
from tasuki.contracts.state.store import MAX_PAGE, Store
from tasuki.message import new_id
from tasuki.state.records import part_of
from tasuki.state.shared import CONTROL, Controls, SharedState

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


RUNNING = b"running"

WAITING = b"waiting"

PATIENCE = 2.0
"""Seconds in which each worker learns of a cancelled message and answers: twice as long as a watch may take."""

_PAUSE = 0.02

_LONGEST_PAUSE = 0.2

_AT_ONCE = 32
"""Records that are written at the same time."""

_BATCH = 1000
"""Most ids of one removal."""

_LOOKED_AT = 100
"""Most messages of one search, which reads their bodies."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The queue of the messages, and the store of its state."""

    state: SharedState
    driver: Driver
    queue: str
    """Its name at the broker."""
    is_strict: bool = False


async def cancel(what: Cancelled, ids: Iterable[str], known_running: int = 0) -> tuple[Cancellation, dict[str, bool]]:
    """Cancel these messages; each counts once.

    Returns how many were where, and the ids that no handler has, as far as is known: True, it surely has none; False, a
    worker that does not answer may have taken the message just before its removal.

    The records come first: a message that is not removed, as a worker has it or its broker cannot, finds its record
    when it is about to start. A removed message is gone.

    ``known_running``: this many of them have a handler, as far as their jobs say, also if the broker has them no more.

    Raises:
        DriverError: the store or the broker cannot be reached; the messages may be cancelled or not.
    """
    wanted = list(dict.fromkeys(ids))
    asker, store = new_id(), await what.state.store()
    entries = records(what.queue, wanted, asker, what.state.clock.time(), is_strict=what.is_strict)
    await each(store.put(key, value, ttl=TTL) for key, value in entries)
    removed, there = await _take_out(what, wanted)
    answers = await _answers(what, store, asker, len(wanted) - removed, known_running)
    running = sum(answers.get(answer_key(asker, id)) == RUNNING for id in wanted)
    waiting = removed + len(answers) - running
    if waiting + running < len(wanted):
        again, there_again = await _take_out(what, wanted)  # a worker has put one back meanwhile, before it knew
        waiting += again
        for id, is_removed in there_again.items():
            there[id] = is_removed or there.get(id, False)
    # Without an answer it may be with a worker that is blocked, which ends it itself.
    said = {id: answers.get(answer_key(asker, id)) for id in wanted}
    given_up = {id: there.get(id, False) for id in wanted if said[id] is None and id in there}
    given_up |= {id: True for id in wanted if said[id] == WAITING}
    waiting = min(waiting, len(wanted) - running)  # there may be two messages of one id
    left = len(wanted) - waiting - running
    if what.driver.capabilities.has("remove"):
        return Cancellation(waiting, running, not_found=left), given_up
    return Cancellation(waiting, running, requested=left), given_up


async def forget(what: Cancelled, id: str) -> None:
    """Remove the record of one message."""
    await (await what.state.store()).delete(key_of(what.queue, id))


async def answer(state: SharedState, asker: str, id: str, where: bytes) -> None:
    """Say where a cancelled message is."""
    await (await state.store()).put(answer_key(asker, id), where, ttl=ANSWER_TTL)


async def is_recorded(state: SharedState, queue: str, ids: Sequence[str]) -> list[bool]:
    """Whether each message is cancelled, as the store says now."""
    store = await state.store()
    found = await asyncio.gather(*(store.get(key_of(queue, id)) for id in ids))
    return [entry is not None for entry in found]


async def is_cancelled(state: SharedState, queue: str, id: str) -> bool:
    """Whether a message is cancelled, by its own record or one of several messages."""
    return await cancel_of(state, queue, id) is not None


async def cancel_of(state: SharedState, queue: str, id: str) -> Cancel | None:
    """The record that cancels a message, its own or one of several messages; None: it is not cancelled."""
    store = await state.store()
    if (own := await store.get(key_of(queue, id))) is not None:
        return decode(own.value)
    shared = map(decode, (await _read(store, shared_prefix(queue))).values())
    return next((record for record in shared if id in record.ids), None)


async def _take_out(what: Cancelled, ids: Sequence[str]) -> tuple[int, dict[str, bool]]:
    """Remove the messages that wait: how many there were, and their ids; False: a worker may have taken it just before.

    All ids, where no worker can have had one of them before.
    """
    able = what.driver.capabilities
    if not able.has("remove"):
        return 0, dict.fromkeys(ids, False)
    is_searched = able.has("find") and not await is_held_nowhere(what)
    removed, there = 0, dict[str, bool]()
    for page in _slices(ids, _LOOKED_AT if is_searched else _BATCH):
        found, places = page, list[str]()
        if is_searched:  # a message that a worker puts back meanwhile stays: it has not been found
            shown = await what.driver.find(what.queue, page)
            found, places = [message.id for message in shown], [place_of(message) for message in shown]
        count = await what.driver.remove(what.queue, found, places) if found else 0
        there.update(dict.fromkeys(found, count >= len(found)))
        removed += count
    return removed, there


def _slices(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


async def _answers(what: Cancelled, store: Store, asker: str, expected: int, known: int) -> dict[str, bytes]:
    """The answers by their keys: as many as expected, or all that come in time; ``known``: these surely come."""
    loop, pause = asyncio.get_running_loop(), _PAUSE
    until = loop.time() + PATIENCE
    found: dict[str, bytes] = {}
    while expected > 0:
        is_over = loop.time() >= until or (len(found) >= known and await is_held_nowhere(what))
        found = await _read(store, f"{ANSWERS}{asker}/")
        if is_over or len(found) >= expected:
            break
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    return found


async def is_held_nowhere(what: Cancelled) -> bool:
    """Whether the broker is sure that no worker has a message of the queue."""
    return what.driver.capabilities.has("exact_depth") and not (await what.driver.depth(what.queue)).in_flight


async def _read(store: Store, prefix: str) -> dict[str, bytes]:
    values: dict[str, bytes] = {}
    cursor, is_first = "", True
    while cursor or is_first:
        page = await store.list(prefix, after=cursor, limit=MAX_PAGE)
        values |= {entry.key: entry.value for entry in page.entries}
        cursor, is_first = page.cursor, False
    return values


async def each(works: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Do all, several at a time. Raises the first error."""
    left = iter(works)

    async def do_some() -> None:
        for work in left:
            await work

    tasks = [asyncio.create_task(do_some()) for _ in range(_AT_ONCE)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
