"""Pausing: writes and reads the pauses and scales of a store. Each act is logged here once, with its actor."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime

from tasuki.contracts.state.store import MAX_PAGE, Change, Entry, Store
from tasuki.errors import ConflictError
from tasuki.observe.plain import escape
from tasuki.state.controls import CONTROL, MADE
from tasuki.state.pauses import (
    MOST_TEXT,
    Pausable,
    Pause,
    Scale,
    pause_key,
    read_pause,
    scale_key,
    text_of_time,
)
from tasuki.state.shared import SharedState
from tasuki.units import When, parse_duration

_log = logging.getLogger("tasuki.state")


async def pause(
    state: SharedState,
    kind: Pausable,
    name: str,
    *,
    due: When | None = None,
    actor: str = "",
    reason: str = "",
    may_shorten: bool = True,
) -> Pause:
    """Pause, until a time, for a duration, or without an end; returns the pause in force.

    Args:
        state: where its state is.
        kind: of the thing to pause.
        name: of a queue its name at the broker, else the id of the entry.
        due: when it ends by itself: a time, or a duration from now.
        actor: who pauses it.
        reason: why; control characters, such as line feeds, are escaped.
        may_shorten: replace any earlier pause; else one that ends later stays as it is.

    Raises:
        ValueError: ``due`` is over, no duration, or has no time zone.
        DriverError: the store cannot be written.
    """
    store = await state.store()
    await _mark(store)
    key = pause_key(kind, name)
    while True:
        now = await store.time()
        new = Pause(now, _end(due, now), escape(actor)[:MOST_TEXT], escape(reason)[:MOST_TEXT])
        found = None if may_shorten else await store.get(CONTROL + key)
        if found is not None and _ends_later(old := read_pause(found.value), new):
            return old
        version = None if may_shorten else found.version if found is not None else 0
        try:
            ttl = None if new.until is None else new.until - now
            written = await store.put(CONTROL + key, new.encode(), ttl=ttl, version=version)
        except ConflictError:
            continue  # another process was faster: its pause may end later
        state.controls.change(Change(CONTROL + key, new.encode(), written))
        _log.info("paused %s %s %s", kind, name, new)
        return new


async def _mark(store: Store) -> None:
    with suppress(ConflictError):
        await store.put(MADE, b"1", version=0)


def _end(due: When | None, now: float) -> float | None:
    if due is None:
        return None
    if not isinstance(due, datetime):
        if (seconds := parse_duration(due)) > 0:
            return now + seconds
        raise ValueError(f"a pause of {due!r} is none; give a duration above zero")
    if due.utcoffset() is None:
        raise ValueError(f"until needs a time zone: {due!r}; write datetime(…, tzinfo=ZoneInfo('Asia/Tokyo'))")
    if (until := due.timestamp()) > now:
        return until
    raise ValueError(f"a pause until {text_of_time(until)} is over: it is {text_of_time(now)} now")


def _ends_later(old: Pause, new: Pause) -> bool:
    return old.until is None or (new.until is not None and old.until >= new.until)


async def resume(state: SharedState, kind: Pausable, name: str, *, actor: str = "") -> Pause | None:
    """End a pause; returns the one that ended, None if there was none. Raises DriverError."""
    found = await _remove(state, pause_key(kind, name))
    if found is None:
        return None
    _log.info("resumed %s %s%s", kind, name, f", by {actor}" if actor else "")
    return read_pause(found.value)


async def scale(state: SharedState, consumer: str, concurrency: int, *, actor: str = "") -> Scale:
    """Set how many messages each process handles at the same time; it holds until it is reset. Raises DriverError."""
    store = await state.store()
    await _mark(store)
    new = Scale(concurrency, await store.time(), actor[:MOST_TEXT])
    version = await store.put(CONTROL + scale_key(consumer), new.encode())
    state.controls.change(Change(CONTROL + scale_key(consumer), new.encode(), version))
    _log.info("scaled consumer %s to %d%s", consumer, concurrency, f", by {actor}" if actor else "")
    return new


async def reset_scale(state: SharedState, consumer: str, *, actor: str = "") -> bool:
    """Let the consumer's own number hold again; whether another one did. Raises DriverError."""
    found = await _remove(state, scale_key(consumer))
    if found is not None:
        _log.info("consumer %s is no longer scaled%s", consumer, f", by {actor}" if actor else "")
    return found is not None


async def _remove(state: SharedState, key: str) -> Entry | None:
    store = await state.store()
    found = await store.get(CONTROL + key)
    if found is None or not await store.delete(CONTROL + key):
        return None
    state.controls.change(Change(CONTROL + key, None, found.version))
    return found


async def find_pause(state: SharedState, kind: Pausable, name: str) -> Pause | None:
    """The pause in the store now; None: there is none. Raises DriverError."""
    found = await (await state.store()).get(CONTROL + pause_key(kind, name))
    return None if found is None else read_pause(found.value)


async def find_all(state: SharedState, prefix: str) -> dict[str, bytes]:
    """The values of all controls of a prefix in the store now, by key. Raises DriverError."""
    store, found, after = await state.store(), dict[str, bytes](), ""
    while True:
        page = await store.list(CONTROL + prefix, after=after, limit=MAX_PAGE)
        found.update((key.removeprefix(CONTROL), value) for key, value, _ in page.entries if key != MADE)
        if not (after := page.cursor):
            return found
