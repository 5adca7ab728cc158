"""Signals: their values, and the messages that wait for them, in a store."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from tasuki.contracts.driver import Driver
from tasuki.contracts.state.store import MAX_PAGE, Store
from tasuki.errors import ConflictError, HandlerError
from tasuki.flow.records import invalid
from tasuki.handlers.store_values import pack

SIGNALS = "signal/"
"""Prefix of the keys of signals."""
WAITS = "wait/"
"""Prefix of the keys of notes: for each signal, one for each message that waits for it."""
SIGNAL_TTL = 30 * 86400.0
"""Seconds for which a signal is kept."""
MAX_VALUE = 64 * 1024
"""Bytes of a signal's value."""
_AT_ONCE = 1000
"""Messages that are woken by one call of the driver."""
MAX_NAME = 100
"""Characters of a signal's name."""
MAX_KEY = 500
"""Characters of its key."""

_encoder = msgspec.msgpack.Encoder()


class Signal(msgspec.Struct, frozen=True, array_like=True):
    """A signal with its first value."""

    name: str
    key: str
    value: msgspec.Raw
    """MessagePack."""
    actor: str
    at: float
    """Unix time of the store."""


class Waiter(NamedTuple):
    """A message that waits: the name of its queue at the broker, and its id."""

    queue: str
    id: str


class Topic(NamedTuple):
    """The topic of a signal: its name, and the key of the case."""

    name: str
    key: str

    @property
    def place(self) -> str:
        """The part of the keys that is this topic's alone."""
        return sha256(_encoder.encode(tuple(self))).hexdigest()

    @property
    def signal_key(self) -> str:
        """Where the signal is."""
        return f"{SIGNALS}{self.place}"

    def wait_key(self, waiter: Waiter) -> str:
        """Where the note of a message is."""
        return f"{WAITS}{self.place}/{sha256(_encoder.encode(tuple(waiter))).hexdigest()}"


_signals, _waiters = msgspec.msgpack.Decoder(Signal), msgspec.msgpack.Decoder(Waiter)


def topic_of(name: object, key: object) -> Topic:
    """The topic of a name and a key. Raises HandlerError (Invalid): it has none."""
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise invalid(f"a signal's name is printable text of 1 to {MAX_NAME} characters, not {name!r:.80}")
    if isinstance(key, bool) or not isinstance(key, str | int) or len(text := str(key)) > MAX_KEY:
        raise invalid(f"signal {name!r}: its key is text of at most {MAX_KEY} characters or a number, not {key!r:.80}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise invalid(f"signal {name!r}: its key {key!r:.80} is not valid Unicode") from None
    return Topic(name, text)


def wait_name(topic: Topic) -> str:
    """The name of the step that waits for a topic, where the handler gives none."""
    name = f"wait {topic.name} {topic.key}"
    return name if len(name) <= MAX_NAME else f"wait {topic.name} {topic.place}"[:200]


def packed_value(topic: Topic, value: object) -> msgspec.Raw:
    """The bytes of a value. Raises HandlerError (Invalid): it is no plain data, or too large."""
    try:
        raw = msgspec.Raw(pack(topic.name, [value])[1:])  # without the byte of the list
    except HandlerError as error:
        why = error.message.partition(": ")[2].replace("; store plain data", "; give plain data")
        raise invalid(f"signal {topic.name!r}: its value cannot be kept: {why}") from None
    if len(bytes(raw)) > MAX_VALUE:
        raise invalid(
            f"signal {topic.name!r}: its value has {len(bytes(raw))} bytes, and may have {MAX_VALUE}; keep it in a "
            "store or a file, and give its key"
        )
    return raw


async def give(store: Store, topic: Topic, value: msgspec.Raw, actor: str, ttl: float = SIGNAL_TTL) -> bool:
    """Record a signal; whether it is the first one, which counts."""
    signal = Signal(topic.name, topic.key, value, actor, await store.time())
    try:
        await store.put(topic.signal_key, _encoder.encode(signal), ttl=ttl, version=0)
    except ConflictError:
        return False
    return True


async def signal_of(store: Store, topic: Topic) -> Signal | None:
    """The signal, if it was given."""
    found = await store.get(topic.signal_key)
    return None if found is None else _signals.decode(found.value)


async def note_waiter(store: Store, topic: Topic, waiter: Waiter, ttl: float) -> None:
    """Say that a message waits, before it looks for the signal: whichever comes later sees the other."""
    await store.put(topic.wait_key(waiter), _encoder.encode(waiter), ttl=ttl)


async def waiters_of(store: Store, topic: Topic) -> list[Waiter]:
    """The messages that wait for the signal."""
    found: list[Waiter] = []
    cursor, is_first = "", True
    while cursor or is_first:
        page = await store.list(f"{WAITS}{topic.place}/", after=cursor, limit=MAX_PAGE)
        found += [_waiters.decode(entry.value) for entry in page.entries]
        cursor, is_first = page.cursor, False
    return found


async def wake(driver: Driver, queue: str, ids: Sequence[str]) -> None:
    """Let postponed messages come now, where the driver can; else they look for their signals by themselves.

    Raises:
        DriverError: they may not come now.
    """
    if driver.capabilities.has("expedite"):
        for start in range(0, len(ids), _AT_ONCE):
            await driver.expedite(queue, ids[start : start + _AT_ONCE])
