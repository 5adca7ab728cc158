"""Batches as the scripts take them, and their answers as the contract wants them; no I/O.

The server keeps a message as MessagePack of ``[time of publishing, [id, body, headers]]``. The inner array is written
here, the time around it by the server, by its own clock.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import msgspec

from tasuki.contracts.driver import (
    Ack,
    Limit,
    Merged,
    Move,
    Nack,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Release,
    Settlement,
    Unique,
)
from tasuki.drivers.toolkit.results import Found, shown
from tasuki.errors import DriverError, MessageTooLargeError, UnsupportedError
from tasuki.message import HeaderValue, Message

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[float, tuple[str, bytes, dict[str, HeaderValue]]]).decode


def encoded(message: Outgoing) -> bytes:
    """The content of a message. Raises TypeError, ValueError or OverflowError for headers that cannot be kept."""
    return _encode((message.id, message.body, message.headers))


def decoded(content: bytes, place: bytes) -> tuple[str, bytes, dict[str, HeaderValue]]:
    """Id, body and headers again. What another program put there is all body, and named after its place."""
    try:
        return _decode(content)[1]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return place.decode(errors="replace"), content, {}


def key_text(key: str | None) -> bytes:
    """A key as the scripts want it: never empty, without the bytes that end a key in the server's sets."""
    if key is None:
        return b""
    return b"=" + key.encode().replace(b"\1", b"\1\2").replace(b"\0", b"\1\3")


MAX_BYTES = 16 * 2**20
"""Most bytes of messages in one command, in either direction, unless a single one is larger."""

NOT_TRIED = 3
"""The answer to a move where a publish has to wait for the disk or replicas before anything is acked."""
MAX_MOVED = 100
"""Moves of one script: each costs the server about as much as a settlement with order per key."""
MAX_OPTIONED = {"none": 250, "key": 100}
"""Most messages with options in one command, by the ordering: with order per key each costs the server up to 60 us."""
_MAX_SETTLED = {"none": 500, "key": 100}
"""Most deliveries that end in one command: with order per key each costs it about as much."""

_HOWS: Mapping[bytes, Literal["kept", "replaced", "extended"]] = {b"k": "kept", b"r": "replaced", b"x": "extended"}
_Item = TypeVar("_Item")
_ALL_OR_NONE = b"3l"
_AS_ROOM_GOES = b"2l"
_NEVER_A_RECEIPT = b"-"
_LONGEST = 2**52
_FAILURES = re.compile(rb"\d+")
"""The first part of a history; see ``history.lua``."""


def microseconds(seconds: float) -> int:
    """Never less than the time given, up to 142 years: the server counts exactly to 2^53, and is at 2^51 today."""
    return min(math.ceil(min(seconds, 2.0**33) * 1_000_000), _LONGEST)


def in_force(spec: QueueSpec, options: Sequence[bytes]) -> QueueSpec:
    """A queue with the options that the server has."""
    lease, most, ordering, window, span, temporary, wait, limits = options
    fair, limit, lane_limit = _limited(limits)
    fsync, replicas = map(int, wait.split() or (0, 0))
    found = {"wait_replicas": replicas, "wait_fsync": bool(fsync), "expires": not temporary and int(span or 0) / 1000}
    return replace(
        spec,
        lease=int(lease) / 1_000_000,
        max_length=int(most) if most else None,
        ordering="key" if ordering == b"key" else "none",
        dedup_window=int(window) / 1_000_000 if window else None,
        temporary=bool(temporary),
        limit=limit,
        lane_limit=lane_limit,
        fair=fair,
        options={name: value for name, value in found.items() if value or spec.options.get(name) == value},
    )


def limits(spec: QueueSpec) -> str:
    """The limits of a queue as the scripts keep them; empty without any."""
    if not spec.fair and spec.limit is None:
        return ""
    each = spec.lane_limit if spec.fair else None
    return f"{spec.fair} {_limit_words(spec.limit)} {_limit_words(each)}"


def _limit_words(limit: Limit | None) -> str:
    if limit is None:
        return "- - -"
    rate = ("-", "-") if limit.rate is None else (repr(float(limit.rate)), str(limit.burst))
    return " ".join((*rate, "-" if limit.concurrency is None else str(limit.concurrency)))


def _limited(words: bytes) -> tuple[int, Limit | None, Limit | None]:
    fair, *both = words.decode().split() or ["0", *"------"]
    return int(fair), _limit_of(both[:3]), _limit_of(both[3:])


def _limit_of(words: Sequence[str]) -> Limit | None:
    rate, burst, places = (None if word == "-" else word for word in words)
    if rate is None and places is None:
        return None
    return Limit(float(rate) if rate else None, int(burst or 1), int(places) if places else None)


@dataclass(slots=True)
class Part:
    """Messages of one command: their indexes in the batch, and the words of the command."""

    indexes: list[int]
    words: list[bytes | int]
    is_move: bool
    size: int = 0


@dataclass(slots=True)
class Publishing:
    """A batch on its way: parts to send, in order, and one result a message."""

    parts: list[Part]
    results: list[DriverError | Merged | None]

    def note(self, part: Part, answers: Sequence[bytes]) -> None:
        """Take over the answers of the script for unique messages, from the first message of a part on."""
        for index, told in zip(part.indexes, answers, strict=False):
            self.results[index] = Merged(_HOWS[told[:1]], told[1:].decode()) if told else None

    def reject(self, indexes: Sequence[int], error: DriverError) -> None:
        """Give messages a result that is not success."""
        for index in indexes:
            self.results[index] = error


def publishing(
    spec: QueueSpec,
    batch: Sequence[Outgoing],
    *,
    driver: str,
    most: int,
    in_one_memory: bool = True,
    is_unique: bool = False,
) -> Publishing:
    """Encode a batch, and refuse messages that cannot be stored; ``most``: bytes of the largest message.

    ``in_one_memory``: a server at its maxmemory stores dead letters and redriven messages, because the caller removes
    their originals from the same server next. ``is_unique``: for the script that knows unique messages.
    """
    has_lanes = any(message.lane for message in batch)
    has_options = is_unique or has_lanes or any(map(_has_options, batch))
    work = Publishing([], [None] * len(batch))
    part: Part | None = None
    for index, message in enumerate(batch):
        try:
            content = encoded(message)
            options: tuple[bytes | int, ...] = _options(message) if has_options else ()
            if is_unique:
                options += _uniqueness(message.unique)
            if is_unique or has_lanes:
                options += (_lane(message),)
        except (TypeError, ValueError, OverflowError) as problem:
            work.reject([index], _refusal(UnsupportedError, f"it cannot be kept: {problem}", spec, message, driver))
            continue
        if len(message.body) > most:
            work.reject(
                [index], _refusal(MessageTooLargeError, f"it is larger than {most} bytes", spec, message, driver)
            )
            continue
        is_move = in_one_memory and not message.deduplicate and not is_unique
        is_full = part is not None and (
            part.size + len(content) > MAX_BYTES or (has_options and len(part.indexes) == MAX_OPTIONED[spec.ordering])
        )
        if part is None or is_full or part.is_move is not is_move:
            mode = 2 if is_move else int(has_options)
            part = Part([], [] if is_unique else [b"%dl" % mode if has_lanes else mode], is_move)
            work.parts.append(part)
        part.size += len(content)
        part.indexes.append(index)
        part.words.append(content)
        part.words += options
    return work


def _has_options(message: Outgoing) -> bool:
    return bool(message.priority or message.delay > 0 or message.key is not None or not message.deduplicate)


def _options(message: Outgoing) -> tuple[int, int, bytes, int]:
    return message.priority, microseconds(message.delay), key_text(message.key), int(not message.deduplicate)


def _uniqueness(unique: Unique | None) -> tuple[bytes | int, ...]:
    if unique is None:
        return b"", b"", b"", 0
    span = unique.span.encode() if isinstance(unique.span, str) else microseconds(unique.span)
    return unique.key.encode(), span, unique.act.encode(), microseconds(unique.latest)


def _lane(message: Outgoing) -> bytes:
    return key_text(message.lane) if message.lane else b""


def _refusal(kind: type[DriverError], why: str, spec: QueueSpec, message: Outgoing, driver: str) -> DriverError:
    return kind(f"message {message.id!r} was not stored: {why}", driver=driver, queue=spec.name)


def move_refusal(spec: QueueSpec, move: Move, *, driver: str, most: int) -> DriverError | None:
    """Why a move to this queue cannot be tried, or None; ``most``: bytes of the largest message."""
    work = publishing(spec, move.messages, driver=driver, most=most)
    return next((error for error in work.results if isinstance(error, DriverError)), None)


def moving(moves: Sequence[Move]) -> list[bytes | int]:
    """The arguments of the script that moves."""
    words: list[bytes | int] = []
    for move, receipt in zip(moves, readable([move.receipt for move in moves]), strict=True):
        stored = [word for message in move.messages for word in (encoded(message), *_options(message), _lane(message))]
        words += [receipt, 1 + len(stored), _ALL_OR_NONE, *stored]
    return words


def transferring(found: Sequence[Found[bytes]]) -> list[bytes | int]:
    """The arguments of the script that transfers."""
    messages = [each.message for each in found]
    stored = [word for message in messages for word in (encoded(message), *_options(message), _lane(message))]
    return [len(found), *(each.place for each in found), *(each.id.encode() for each in found), _AS_ROOM_GOES, *stored]


def received(answer: Sequence[Sequence[bytes]], token: str) -> list[Received]:
    """The deliveries of a receive."""
    places, contents, histories = answer
    tail = f":{token}".encode()
    taken = []
    for index, place in enumerate(places):
        id, body, headers = decoded(contents[index], place)
        delivery = Received(id, body, headers, place + tail)
        if histories and (history := histories[index]):
            delivery.attempt = int(history.rstrip(b"s")) + 1
            delivery.suspect = history.endswith(b"s")
        taken.append(delivery)
    return taken


def settled_together(spec: QueueSpec, batch: Sequence[_Item]) -> list[Sequence[_Item]]:
    """A batch in parts, each small enough for one command."""
    size = _MAX_SETTLED[spec.ordering]
    return [batch[start : start + size] for start in range(0, len(batch), size)]


class Settling:
    """A batch of settlements, in the order that the script wants: acks, nacks, releases.

    Raises UnsupportedError for a delay that is negative or not finite.
    """

    def __init__(self, batch: Sequence[Settlement], *, driver: str = "", queue: str = "") -> None:
        # Of two settlements of one delivery the first counts.
        first: dict[Receipt, Settlement] = {}
        self._repeated = [item.receipt for item in batch if first.setdefault(item.receipt, item) is not item]
        acks = [item.receipt for item in first.values() if type(item) is Ack]
        nacks = [item for item in first.values() if isinstance(item, Nack)]
        back: list[Nack | Release] = [*nacks, *(item for item in first.values() if isinstance(item, Release))]
        self.receipts: list[Receipt] = [*acks, *(item.receipt for item in back)]
        for item in back:
            if not 0 <= item.delay < math.inf:
                problem = f"shown again after {item.delay} seconds: give 0 or more, and a finite number"
                raise UnsupportedError(problem, driver=driver, queue=queue)
        delays = [_delay(item) for item in back]
        self.words: list[bytes | int] = [len(acks), len(nacks), *readable(self.receipts), *delays]

    def stale(self, numbers: Sequence[int]) -> list[Receipt]:
        """The stale receipts, by the script's answer."""
        return [*(self.receipts[number - 1] for number in numbers), *self._repeated]


def _delay(item: Nack | Release) -> bytes | int:
    delay = microseconds(item.delay)
    return b"%d %b" % (delay, item.error.encode()) if isinstance(item, Nack) and item.error else delay


def shown_at(
    place: bytes, content: bytes, failure: bytes | None, history: bytes | None, delay: bytes | None
) -> Message:
    """A message as ``peek`` shows it; ``failure``: microseconds and the last error; ``delay``: in microseconds."""
    time, _, error = (failure or b"0").partition(b" ")
    failures = _FAILURES.match(history or b"0")
    # What another program put there may be at a place that is no text.
    name = place.decode(errors="surrogateescape")
    return shown(
        *decoded(content, place),
        name,
        error.decode(errors="replace"),
        int(time) / 1_000_000,
        delay=int(delay or 0) / 1_000_000,
        failures=int(failures[0]) if failures else 0,
    )


def readable(receipts: Sequence[Receipt]) -> list[bytes]:
    """Receipts as the scripts take them; any other value is stale."""
    return [receipt if type(receipt) is bytes else _NEVER_A_RECEIPT for receipt in receipts]
