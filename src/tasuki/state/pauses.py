"""Pauses and scales: orders for queues, consumers and schedules, read from a store and written to it.

Their keys are keys of Controls. A queue has its name at the broker in its key, so that all apps on one queue agree.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from tasuki.contracts.state.store import MAX_PAGE, Change, Entry, Store
from tasuki.errors import ConflictError
from tasuki.moments import Moment
from tasuki.observe.plain import escape
from tasuki.state.shared import CONTROL, MADE, Controls, SharedState
from tasuki.units import When, parse_duration

Pausable = Literal["queue", "consumer", "schedule"]
"""What can be paused."""


PAUSE = "pause/"

SCALE = "scale/"

_YEAR_9999 = 253370764800.0

MOST_TEXT = 500
"""Longest actor and longest reason that are kept, in characters."""


class Pause(msgspec.Struct, frozen=True):
    """A pause: its start, its end, its actor and the reason."""

    at: Moment
    """When it was ordered, in Unix seconds of the store's clock."""
    until: Moment | None = None
    """When it ends by itself, by the same clock; None: never."""
    actor: str = ""
    reason: str = ""

    def __str__(self) -> str:
        parts = [
            f"until {text_of_time(self.until)}" if self.until is not None else "until it is resumed",
            f", by {self.actor}" if self.actor else "",
            f": {self.reason}" if self.reason else "",
        ]
        return escape("".join(parts))

    def encode(self) -> bytes:
        """The value under its key."""
        return msgspec.json.encode(self)

    def as_dict(self) -> dict[str, Any]:
        """Plain data: ``until`` (or None), ``actor``, ``at`` and ``reason``."""
        return {"until": self.until, "actor": self.actor, "at": self.at, "reason": self.reason}


class Scale(msgspec.Struct, frozen=True):
    """The concurrency of one consumer in each process."""

    concurrency: int
    """0: none, as if the consumer were paused."""
    at: Moment
    """When it was ordered, in Unix seconds of the store's clock."""
    actor: str = ""

    def encode(self) -> bytes:
        """The value under its key."""
        return msgspec.json.encode(self)


def pause_key(kind: Pausable, name: str) -> str:
    """The key of a pause; ``name``: of a queue its name at the broker, else the id of the entry."""
    return f"{PAUSE}{kind}/{name}"


def scale_key(consumer: str) -> str:
    """The key of a consumer's scale."""
    return SCALE + consumer


def read_pause(value: bytes) -> Pause:
    """The pause behind a value. A value that cannot be read is a pause: what it was is unknown, and nothing may run."""
    try:
        return msgspec.json.decode(value, type=Pause)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Pause(0.0, reason="its record in the store cannot be read")


def read_scale(value: bytes) -> Scale | None:
    """The scale behind a value; None: the value cannot be read, and the consumer's own number holds."""
    try:
        return msgspec.json.decode(value, type=Scale)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def pause_in(controls: Controls, kind: Pausable, name: str) -> Pause | None:
    """The pause of this queue, consumer or schedule; None: it is not paused."""
    value = controls.get(pause_key(kind, name))
    return None if value is None else read_pause(value)


def scale_in(controls: Controls, consumer: str) -> Scale | None:
    """The scale of a consumer; None: its own number holds."""
    value = controls.get(scale_key(consumer))
    return None if value is None else read_scale(value)


def pause_of_consumer(controls: Controls, queue: str, consumer: str) -> Pause | None:
    """Why a consumer may not receive: its queue (by the name at the broker) or itself is paused, or scaled to 0."""
    pause = pause_in(controls, "queue", queue) or pause_in(controls, "consumer", consumer)
    if pause is not None:
        return pause
    scale = scale_in(controls, consumer)
    return Pause(scale.at, None, scale.actor, "scaled to 0") if scale is not None and scale.concurrency == 0 else None


def text_of_time(time: float) -> str:
    """Unix seconds as an ISO time in UTC: ``2026-12-24T18:00:00Z``."""
    if not 0 <= time < _YEAR_9999:
        return f"{time:.0f}"
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


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
        due: when it ends: a time, or a duration from now.
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
            with state.controls.changing(key) as reports:
                written = await store.put(CONTROL + key, new.encode(), ttl=ttl, version=version)
        except ConflictError:
            continue  # another process was faster: its pause may end later
        state.controls.change(Change(CONTROL + key, new.encode(), written), reports)
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
    key = scale_key(consumer)
    with state.controls.changing(key) as reports:
        version = await store.put(CONTROL + key, new.encode())
    state.controls.change(Change(CONTROL + key, new.encode(), version), reports)
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
    with state.controls.changing(key) as reports:
        found = await store.get(CONTROL + key)
        if found is None or not await store.delete(CONTROL + key):
            return None
    state.controls.change(Change(CONTROL + key, None, found.version), reports)
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
