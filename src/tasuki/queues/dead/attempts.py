"""Attempt records: when, where and why an attempt of a message failed; how they are bounded, kept and read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tasuki.message import ATTEMPT_RECORDS, REDRIVEN, Message

KEPT = 5
"""Records that are kept of a message, the newest."""
MAX_MESSAGE_BYTES = 1024
MAX_TRACEBACK_BYTES = 4096
MAX_HEADER_BYTES = 8192
"""Of all records in the header of a dead letter."""
_MAX_NAME = 200
_LATE = 1_000_000_000
"""More attempts or redrives than any message has: a forged header must not make a number that no one can show."""


class AttemptRecord(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One failed attempt; texts that are not known are empty, and have no secrets."""

    attempt: int
    at: float
    """Unix seconds at which it ended."""
    worker: str = ""
    """``host:pid``."""
    took: float = 0.0
    """Seconds that its handler ran."""
    type: str = ""
    message: str = ""
    place: str = ""
    """``file:function``."""
    traceback: str = ""
    round: int = 0
    """Redrives before it: their attempts are counted from 1 again."""


def recorded(record: AttemptRecord) -> AttemptRecord:
    """The record with texts that are short enough, and that a broker can carry: of a traceback its end."""
    if _is_fit(record):
        return record
    return msgspec.structs.replace(
        record,
        worker=_first(record.worker, _MAX_NAME),
        type=_first(record.type, _MAX_NAME),
        place=_first(record.place, _MAX_NAME),
        message=_first(record.message, MAX_MESSAGE_BYTES),
        traceback=_last(record.traceback, MAX_TRACEBACK_BYTES),
    )


def _is_fit(record: AttemptRecord) -> bool:
    """Whether its texts can stay: the common case, which is quick to see."""
    worker, kind, place, message, traceback = (
        record.worker, record.type, record.place, record.message, record.traceback,
    )  # fmt: skip
    return (
        len(message) <= MAX_MESSAGE_BYTES
        and len(traceback) <= MAX_TRACEBACK_BYTES
        and len(worker) <= _MAX_NAME >= len(kind)
        and len(place) <= _MAX_NAME
        and message.isascii()
        and traceback.isascii()
        and worker.isascii()
        and kind.isascii()
        and place.isascii()
    )


def newest(records: Iterable[AttemptRecord]) -> list[AttemptRecord]:
    """The newest of them, oldest first; each attempt once, as it was recorded last."""
    found = {(each.round, each.attempt): each for each in sorted(records, key=_at)}
    return sorted(found.values(), key=_order)[-KEPT:]


def encode(record: AttemptRecord) -> bytes:
    """As it is kept in a store."""
    return _encoder.encode(record)


def decode(value: bytes) -> AttemptRecord | None:
    """The record of a value in a store; None: another version wrote it in a way that this one cannot read."""
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def header_of(records: Iterable[AttemptRecord]) -> str:
    """The newest records as the text of a header; the oldest tracebacks make room, then the oldest records.

    Empty: there is none.
    """
    kept = newest(records)
    text = _json(kept)
    for index in range(len(kept)):
        if len(text) <= MAX_HEADER_BYTES:
            break
        kept[index] = msgspec.structs.replace(kept[index], traceback="")
        text = _json(kept)
    while len(text) > MAX_HEADER_BYTES and kept:
        del kept[0]
        text = _json(kept)
    return text.decode() if kept else ""


def records_in(message: Message) -> list[AttemptRecord]:
    """The records that a dead letter carries, oldest first."""
    text = message.headers.get(ATTEMPT_RECORDS)
    if not isinstance(text, str):
        return []
    try:
        return newest(_list_decoder.decode(text))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return []


def round_of(message: Message) -> int:
    """How many times a message was redriven."""
    count = message.headers.get(REDRIVEN, 0)
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < _LATE else 0


_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(AttemptRecord)
_list_decoder = msgspec.json.Decoder(list[AttemptRecord])


def _json(records: Sequence[AttemptRecord]) -> bytes:
    return msgspec.json.encode(records)


def _at(record: AttemptRecord) -> float:
    return record.at


def _order(record: AttemptRecord) -> tuple[int, int]:
    return record.round, record.attempt


def _first(text: str, most: int) -> str:
    if text.isascii():
        return text[:most]
    return text[:most].encode("utf-8", "replace")[:most].decode("utf-8", "ignore")


def _last(text: str, most: int) -> str:
    if text.isascii():
        return text[-most:]
    return text[-most:].encode("utf-8", "replace")[-most:].decode("utf-8", "ignore")
