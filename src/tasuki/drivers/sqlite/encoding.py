"""Messages → the rows that the store inserts. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from tasuki.contracts.driver import Outgoing, Unique
from tasuki.drivers.sqlite.store.rows import Row
from tasuki.errors import DriverError, MessageTooLargeError, UnsupportedError

_encode_headers = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class Encoded:
    """A batch for the store: ``refused`` by the index of the message, all else by the index of the row.

    ``delays`` are seconds, ``always`` are the messages that are stored even if their ids are known, ``lanes`` the
    lanes that are not ''.
    """

    rows: list[Row] = field(default_factory=list)
    delays: dict[int, float] = field(default_factory=dict)
    always: set[int] = field(default_factory=set)
    uniques: dict[int, Unique] = field(default_factory=dict)
    lanes: dict[int, str] = field(default_factory=dict)
    refused: dict[int, DriverError] = field(default_factory=dict)


def encoded(batch: Sequence[Outgoing], *, driver: str, queue: str, now: float, most: int) -> Encoded:
    """Encode a batch, and refuse what cannot be kept; ``most``: bytes of the largest message."""
    work = Encoded()
    for index, message in enumerate(batch):
        try:
            headers = _encode_headers(message.headers)
        except (TypeError, ValueError, OverflowError) as problem:
            why = f"its headers cannot be kept: {problem}"
            work.refused[index] = _refusal(UnsupportedError, driver, queue, message, why)
            continue
        if len(message.body) > most:
            why = f"it is larger than {most} bytes"
            work.refused[index] = _refusal(MessageTooLargeError, driver, queue, message, why)
            continue
        if message.delay > 0:
            work.delays[len(work.rows)] = message.delay
        if not message.deduplicate:
            work.always.add(len(work.rows))
        if message.unique is not None:
            work.uniques[len(work.rows)] = message.unique
        if message.lane:
            work.lanes[len(work.rows)] = message.lane
        work.rows.append((message.id, message.body, headers, 9 - message.priority, message.key, now))
    return work


def _refusal(kind: type[DriverError], driver: str, queue: str, message: Outgoing, why: str) -> DriverError:
    return kind(f"message {message.id!r} was not stored: {why}", driver=driver, queue=queue)
