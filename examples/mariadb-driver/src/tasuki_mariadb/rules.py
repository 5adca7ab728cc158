"""What needs no server: columns, room, duplicates, the front of each key."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from tasuki.contracts.driver import Outgoing, Receipt
from tasuki.errors import DriverError, MessageTooLargeError, UnsupportedError
from tasuki.message import HeaderValue

READY, DELAYED, HELD, BEHIND = range(4)
"""States of a message; BEHIND: it waits for an earlier one of its key."""

MAX_BODY = 4 * 2**20
"""Bytes of a body. Escaping may double them, and a server as it comes takes statements of 16 MiB."""
MAX_CLAIM_BYTES = 64 * 2**20
"""A receive stops after this many bytes of bodies, so that memory stays bounded."""

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(dict[str, HeaderValue]).decode


class Queue(NamedTuple):
    """A row of the table of queues, and the server's time (Unix seconds) when it was locked."""

    number: int
    lease: float
    max_length: int | None
    by_key: bool
    dedup_window: float | None
    temporary: bool
    now: float

    @property
    def is_strict(self) -> bool:
        """Whether its transactions must run one after the other."""
        return self.by_key or self.max_length is not None or self.dedup_window is not None


def digest(text: str) -> bytes:
    """What stands for a key or an id in an index, whatever its length."""
    return blake2b(text.encode(), digest_size=16).digest()


def refusal(driver: str, queue: str, message: Outgoing) -> DriverError | None:
    """Why a message cannot be stored, or None."""
    kind: type[DriverError] = UnsupportedError
    try:
        message.id.encode(), digest(message.key or ""), encode(message.headers)
    except (TypeError, ValueError, OverflowError) as problem:
        why = f"it cannot be kept: {problem}"
    else:
        if len(message.body) <= MAX_BODY:
            return None
        kind, why = MessageTooLargeError, f"it is larger than {MAX_BODY} bytes"
    return kind(f"message {message.id!r} was not stored: {why}", driver=driver, queue=queue)


def row(queue: Queue, message: Outgoing) -> tuple[object, ...]:
    """The columns of a new message, in the order of the INSERT."""
    return (
        queue.number,
        message.id.encode(),
        encode(message.headers),
        message.body,
        len(message.body),
        9 - message.priority,
        None if message.key is None else digest(message.key),
        DELAYED if message.delay > 0 else READY,
        queue.now + message.delay,
        queue.now,
    )


def choose(batch: Sequence[Outgoing], known: set[bytes] | None, room: float) -> tuple[list[Outgoing], int]:
    """Which messages are to be stored, and how many of the batch, from its start, are then taken care of.

    A known id is taken care of without room; ``known`` gets the ids of the chosen messages. None: no id matters.
    """
    chosen: list[Outgoing] = []
    for index, message in enumerate(batch):
        id = digest(message.id) if known is not None and message.deduplicate else b""
        if known and id in known:
            continue
        if len(chosen) >= room:
            return chosen, index
        chosen.append(message)
        if known is not None and id:
            known.add(id)
    return chosen, len(batch)


def within(found: Iterable[tuple[int, int]], most: int) -> list[int]:
    """The numbers of messages, from the first on, until their bodies have so many bytes."""
    seqs: list[int] = []
    for seq, size in found:
        seqs.append(seq)
        most -= size
        if most < 0:
            break
    return seqs


def fronts(found: Collection[tuple[int, bytes, int]], heads: dict[bytes, int]) -> tuple[list[int], list[int]]:
    """Which messages must wait behind their key, and which come to its front.

    ``found``: number, key and state of all messages of these keys that are not BEHIND; ``heads``: the first of each.
    """
    held = {key for _, key, state in found if state == HELD}
    here = {seq for seq, _, _ in found}
    demoted = [seq for seq, key, state in found if state != HELD and (key in held or heads[key] != seq)]
    promoted = [seq for key, seq in heads.items() if key not in held and seq not in here]
    return demoted, promoted


def is_receipt(receipt: Receipt) -> bool:
    """Whether it has the form of ours; others are stale."""
    return type(receipt) is tuple and len(receipt) == 2
