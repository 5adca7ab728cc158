"""What became of an edit, and its undo: for a while a record says where the letter went, and keeps the letter.

The letter takes the place of its new message while that waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from tasuki.contracts.driver import Outgoing
from tasuki.contracts.state.store import Store
from tasuki.dead.moving.places import transfer
from tasuki.errors import DriverError, MessageNotFoundError
from tasuki.message import PARTITION_KEY, PRIORITY, HeaderValue, Message
from tasuki.state.records import part_of

if TYPE_CHECKING:
    from tasuki.dead.host import Host

EDITS = "edit/"
"""Prefix of the keys: two for each edited message, by the id of its dead-letter queue, its own and its letter's; and
more for a large body."""
PART = 512 * 1024
"""Bytes of a body under one key; any store takes them, and the headers beside them."""
UNDO_TIME = 900.0
"""Seconds for which an edit can be undone."""


class Record(msgspec.Struct, frozen=True):
    """A letter as it was, and where its new message is; ``to`` is the id of a queue."""

    to: str
    id: str
    body: bytes
    """Its first part."""
    headers: dict[str, HeaderValue]
    more: int = 0
    """Parts of the body under their own keys."""
    at: float = 0.0
    """When the edit began, before the new message was sent; Unix seconds."""
    can_undo: bool = True
    """Whether the letter is kept here; else it is in its queue still, or its driver takes no message back."""


_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Record).decode


def edit_key(dead: str, id: str) -> str:
    """The key of the record of a new message."""
    return f"{EDITS}{dead}/{part_of(id)}"


def _letter_key(dead: str, id: str) -> str:
    """The key under which an edited letter has the id of its new message."""
    return f"{EDITS}of/{dead}/{part_of(id)}"


async def remember(live: Host, dead: str, letter: Message, to: str, id: str, at: float, *, can_undo: bool) -> bool:
    """Record an edit before its new message is sent, with the letter if ``can_undo``; returns whether it can be undone.

    It cannot without a store, nor if the store is full or unavailable.
    """
    state = live.state_of(dead)
    if state is None:
        return False
    body, headers = (letter.body, letter.headers) if can_undo else (b"", {})
    parts = [body[start : start + PART] for start in range(0, max(len(body), 1), PART)]
    value = _encode(Record(to, letter.id, parts[0], headers, len(parts) - 1, at, can_undo))
    key = edit_key(dead, id)
    try:
        store = await state.store()
        for number, part in enumerate(parts[1:], 1):
            await store.put(_part_key(key, number), part, ttl=UNDO_TIME)
        await store.put(key, value, ttl=UNDO_TIME)  # at last: with it the edit can be undone
    except DriverError:
        return False
    return can_undo


async def forget(live: Host, dead: str, id: str) -> None:
    """Delete the record of an edit whose message was not sent; a store that is unavailable keeps it until its time."""
    state = live.state_of(dead)
    with suppress(DriverError):
        if state is not None and (record := await edit_of(live, dead, id)) is not None:
            await _delete(await state.store(), edit_key(dead, id), record)


async def link(live: Host, dead: str, letter: str, id: str) -> None:
    """Let ``edited_into`` find the message that was made of a letter, if a store is available."""
    state = live.state_of(dead)
    with suppress(DriverError):
        if state is not None:
            value = id.encode("utf-8", "surrogatepass")
            await (await state.store()).put(_letter_key(dead, letter), value, ttl=UNDO_TIME)


async def edit_of(live: Host, dead: str, id: str) -> Record | None:
    """The edit of the last 15 minutes that made a message, without the whole body; None: there is none.

    Raises DriverError.
    """
    state = live.state_of(dead)
    found = None if state is None else await (await state.store()).get(edit_key(dead, id))
    return None if found is None else _decode(found.value)


async def edited_into(live: Host, dead: str, letter: str) -> str:
    """The id of the message that an edit of the last 15 minutes made of a letter; empty: none. Raises DriverError."""
    state = live.state_of(dead)
    found = None if state is None else await (await state.store()).get(_letter_key(dead, letter))
    return "" if found is None else found.value.decode("utf-8", "surrogatepass")


async def undo(live: Host, dead: str, id: str) -> str:
    """Put the letter back in the place of its new message, if that still waits; returns the letter's id.

    Raises:
        LookupError: there is no record of it, or can be none, or the message has started.
        DriverError: a broker refuses.
    """
    source, state = live.queue(dead), live.state_of(dead)
    if not source.driver.capabilities.has("transfer"):
        why = "its driver takes no waiting message back in one step"
        raise LookupError(f"no edit of a message of {dead} can be undone: {why}")
    if state is None:
        why = "it has no state, in which they are kept: write 'state: <id of a store>' at it"
        raise LookupError(f"no edit of a message of {dead} can be undone: {why}")
    store: Store = await state.store()
    key = edit_key(dead, id)
    record = await _remembered(store, key)
    if record is None or not record.can_undo:
        raise LookupError(f"no edit of a message of {dead} made {id!r} in the last 15 minutes, so it cannot be undone")
    target = live.queue(record.to)
    priority, lane = record.headers.get(PRIORITY), record.headers.get(PARTITION_KEY)
    letter = Outgoing(
        record.id, record.body, record.headers,
        priority=priority if isinstance(priority, int) else 0, key=None if lane is None else str(lane),
    )  # fmt: skip

    async def carry(messages: Sequence[Outgoing]) -> list[DriverError | None]:
        return await transfer(source.driver, target.spec.name, [Message(id, b"", {})], source.spec.name, messages)

    try:
        (error,) = await source.forward([letter], carry=carry)
        if error is not None:
            raise error
    except MessageNotFoundError as error:
        gone = f"message {id} does not wait in {target.id}: its handler has started, or it was removed, or never sent"
        raise LookupError(gone) from error
    await _delete(store, key, record)
    await store.delete(_letter_key(dead, record.id))
    return record.id


async def _delete(store: Store, key: str, record: Record) -> None:
    for each in (key, *(_part_key(key, number) for number in range(1, record.more + 1))):
        await store.delete(each)


async def _remembered(store: Store, key: str) -> Record | None:
    """The record with its whole body; None: its time is over."""
    found = await store.get(key)
    if found is None:
        return None
    record = _decode(found.value)
    parts = [await store.get(_part_key(key, number)) for number in range(1, record.more + 1)]
    if None in parts:
        return None
    return msgspec.structs.replace(record, body=record.body + b"".join(part.value for part in parts if part))


def _part_key(key: str, number: int) -> str:
    return f"{key}/{number}"
