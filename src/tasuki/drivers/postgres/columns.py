"""Messages, settlements, moves and options of queues → the arrays of one statement; rows → messages. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import msgspec

from tasuki.contracts.driver import (
    ACTS,
    Ack,
    Limit,
    Merged,
    Move,
    Nack,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
    Unique,
)
from tasuki.drivers.toolkit.results import busy, is_receipt, pieces, shown
from tasuki.drivers.toolkit.results import in_force as options_in_force
from tasuki.drivers.toolkit.results import refusal as refused
from tasuki.errors import DriverError
from tasuki.message import HeaderValue, Message

MAX_BODY = 32 * 2**20

MAX_STATEMENT = 16 * 2**20
"""Bytes of bodies after which the rest of a batch goes into another statement."""
_encode = msgspec.json.Encoder().encode

_read = msgspec.json.Decoder(list[tuple[str | None, str | None]]).decode

_decode = msgspec.json.Decoder(dict[str, HeaderValue]).decode
Arrays = tuple[
    list[str],
    list[bytes],
    list[bytes | None],
    list[int] | None,
    list[str | None] | None,
    list[float] | None,
    list[bool] | None,
]
"""ids, bodies, headers, ranks, keys, delays, always: what ``publish`` takes."""
DELAY = "CASE WHEN state = 1 THEN extract(epoch FROM due - clock_timestamp())::float8 END"
"""Seconds until a waiting message is ready; null or less than 0: it is."""

_WAITS = f"SELECT attempts, {DELAY} AS delay FROM {{{{0}}}}.messages m WHERE m.seq = s.seq OFFSET 0"  # noqa: S608

_FACTS = "s.seq, s.id, s.headers, s.body, s.error, s.failed_at, f.attempts, f.delay"

_ALL = f"WITH ORDINALITY s LEFT JOIN LATERAL ({_WAITS}) f ON true ORDER BY s.ordinality"

SHOWN = f"SELECT {_FACTS} FROM {{{{0}}}}.{{}} {_ALL}"  # noqa: S608
"""The messages that a function shows, each with its failures and delay. OFFSET: each row is looked up by its number."""
Columns = TypeVar("Columns", bound=tuple[Any, ...])
"""Columns of messages; the second one is their bodies."""


def arrays(batch: Sequence[Outgoing]) -> Arrays:
    """The columns of a batch; None for those that say nothing. Raises ValueError or TypeError if one cannot be kept."""
    ids, bodies = [message.id for message in batch], [message.body for message in batch]
    keys = [message.key for message in batch] if any(message.key is not None for message in batch) else None
    _check_text("".join(ids) + "".join(key for key in keys or () if key))
    for message in batch:
        if message.unique is not None:
            _check_text(message.unique.key)
        if message.lane:
            _check_text(message.lane)
    if max(map(len, bodies), default=0) > MAX_BODY:
        raise ValueError("too large")
    return (
        ids,
        bodies,
        [_encode(message.headers) if message.headers else None for message in batch],
        [9 - message.priority for message in batch] if any(message.priority for message in batch) else None,
        keys,
        [message.delay for message in batch] if any(message.delay > 0 for message in batch) else None,
        None if all(message.deduplicate for message in batch) else [not message.deduplicate for message in batch],
    )


UniqueColumns = tuple[list[str | None], list[float | None], list[int | None], list[float | None]]
"""Keys, spans (seconds; -1 pending, -2 running), acts, and ``latest``: what ``publish_unique`` takes besides."""
LaneColumn = tuple[list[str]] | tuple[()]
"""Lanes; empty if no message has one. Behind all other columns of ``publish``, ``publish_unique`` and ``move``."""


def lane_column(batch: Sequence[Outgoing]) -> LaneColumn:
    """The lanes of a batch, or nothing."""
    return ([message.lane for message in batch],) if any(message.lane for message in batch) else ()


_SPANS = {"pending": -1.0, "running": -2.0}


def unique_columns(batch: Sequence[Outgoing]) -> UniqueColumns:
    """The columns of what makes messages unique; None where one is not."""
    uniques = [message.unique for message in batch]
    return (
        [None if unique is None else unique.key for unique in uniques],
        [None if unique is None else _span(unique) for unique in uniques],
        [None if unique is None else ACTS.index(unique.act) for unique in uniques],
        [None if unique is None else unique.latest for unique in uniques],
    )


def _span(unique: Unique) -> float:
    return _SPANS[unique.span] if isinstance(unique.span, str) else unique.span


def merged(driver: str, queue: str, answers: str) -> list[Merged | DriverError | None]:
    """The answers of ``publish_unique``."""
    told: list[Merged | DriverError | None] = []
    for how, other in _read(answers):
        if how is None:
            told.append(None)
        elif how == "busy":
            told.append(busy(queue, other or "", driver=driver))
        else:
            told.append(Merged(cast("Any", how), other or ""))
    return told


def _check_text(text: str) -> None:
    text.encode()
    if "\0" in text:
        raise ValueError("an id, a key or a lane cannot hold a NUL character")


def refusal(driver: str, queue: str, message: Outgoing) -> DriverError | None:
    """Why a message cannot be stored, or None."""
    return refused(message, driver=driver, queue=queue, most=MAX_BODY, encode=lambda message: arrays([message]))


def parts(columns: Columns) -> list[Columns]:
    """The columns in pieces of at most ``MAX_STATEMENT`` bytes of bodies, or one message."""
    if sum(map(len, columns[1])) <= MAX_STATEMENT:
        return [columns]
    cuts = pieces([len(body) for body in columns[1]], MAX_STATEMENT)
    return [cast("Columns", tuple(column and column[cut] for column in columns)) for cut in cuts]


def received(rows: Iterable[Any]) -> list[Received]:
    """The deliveries out of the rows of ``take``."""
    return [
        Received(id, body, _headers(headers), (seq, token), attempt, suspect)
        for seq, token, attempt, id, headers, body, suspect, _, _ in rows
    ]


def message(row: Any) -> Message:
    """A message out of a row of ``SHOWN``."""
    seq, id, headers, body, error, at, failures, delay = row
    failure = () if error is None else (error.decode(errors="replace"), at)
    place = "" if seq is None else str(seq)
    return shown(id, body, _headers(headers), place, *failure, delay=delay or 0.0, failures=failures or 0)


def _headers(encoded: bytes | None) -> dict[str, HeaderValue]:
    """Empty where another program wrote something else: its message must not stop the others."""
    if not encoded:
        return {}
    try:
        return _decode(encoded)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


Settling = tuple[list[int], list[int], list[int] | None, list[float] | None]


def settling(batch: Sequence[Settlement]) -> tuple[Settling, Mapping[Receipt, Settlement]]:
    """The arrays for ``settle``, by rising seq, and which settlement of each receipt counts: the first."""
    wanted = {item.receipt: item for item in reversed(batch) if is_receipt(item.receipt)}
    items = [wanted[receipt] for receipt in sorted(wanted)]
    seqs, tokens = [item.receipt[0] for item in items], [item.receipt[1] for item in items]
    if all(type(item) is Ack for item in items):
        return (seqs, tokens, None, None), wanted
    acts = [0 if isinstance(item, Ack) else 1 if isinstance(item, Nack) else 2 for item in items]
    delays = [0.0 if isinstance(item, Ack) else item.delay for item in items]
    return (seqs, tokens, acts, delays), wanted


def errors(wanted: Mapping[Receipt, Settlement]) -> list[bytes | None]:
    """The errors of nacks, by rising seq; empty if none tells one."""
    if not any(isinstance(item, Nack) and item.error for item in wanted.values()):
        return []
    items = (wanted[receipt] for receipt in sorted(wanted))
    return [item.error.encode() if isinstance(item, Nack) and item.error else None for item in items]


def letting_go(receipts: Sequence[Receipt]) -> Settling:
    """The arrays for ``settle`` that end these deliveries, by rising seq, as their leases would."""
    count = len(receipts)
    return [seq for seq, _ in receipts], [token for _, token in receipts], [3] * count, [0.0] * count


def stale(batch: Sequence[Settlement], wanted: Mapping[Receipt, Settlement], places: Sequence[int]) -> list[Receipt]:
    """The receipts of a batch that settled nothing; ``places``: which of the rising ones the server did not find."""
    if not places and len(wanted) == len(batch):
        return []
    rising = sorted(wanted)
    missing = {rising[place - 1] for place in places}
    return [
        item.receipt
        for item in batch
        if not is_receipt(item.receipt) or item.receipt in missing or item is not wanted[item.receipt]
    ]


LIMITS = frozenset({"rate", "concurrency"})

_OPTIONS = ("synchronous_commit",)


def limit_columns(spec: QueueSpec) -> tuple[int, list[float | None] | None, list[float | None] | None]:
    """``fair``, and rate, burst and concurrency of the queue and of each lane: what ``declare_queue`` takes."""
    return spec.fair, _column(spec.limit), _column(spec.lane_limit)


def _column(limit: Limit | None) -> list[float | None] | None:
    return None if limit is None else [limit.rate, limit.burst, limit.concurrency]


def in_force(spec: QueueSpec, row: str) -> QueueSpec:
    """The options of a queue, whose row is given as JSON."""
    found = msgspec.json.decode(row)
    own = {name: found[name] for name in _OPTIONS if found[name] is not None}
    others = {name: value for name, value in spec.options.items() if name not in _OPTIONS}
    limit, lane_limit = _limit(found, ""), _limit(found, "lane_")
    spec = replace(spec, fair=found["fair"], limit=limit, lane_limit=lane_limit, options={**others, **own})
    return options_in_force(
        spec,
        float(found["lease"]),
        found["max_length"],
        found["by_key"] or found["by_lane"],
        found["dedup_window"],
        found["temporary"],
    )


def _limit(row: Mapping[str, Any], of: str) -> Limit | None:
    rate, concurrency = row[f"{of}rate"], row[f"{of}concurrency"]
    return None if rate is None and concurrency is None else Limit(rate, row[f"{of}burst"], concurrency)


def frees_others(spec: QueueSpec) -> bool:
    """Whether a settlement may bring another message of the queue forward, or free a place for it."""
    return spec.ordering == "key" or spec.limit is not None or spec.fair > 0


_NEVER_A_RECEIPT = (-1, -1)


def move_refusal(driver: str, move: Move) -> DriverError | None:
    """Why a move cannot be tried, or None."""
    return next((told for message in move.messages if (told := refusal(driver, move.to, message))), None)


class Moving:
    """Moves to one queue, by rising seq, as the function of the schema takes them."""

    def __init__(self, moves: Sequence[Move]) -> None:
        receipts = [move.receipt if is_receipt(move.receipt) else _NEVER_A_RECEIPT for move in moves]
        self._order = sorted(range(len(moves)), key=receipts.__getitem__)
        self._receipts = [receipts[place] for place in self._order]
        self.moves = [moves[place] for place in self._order]

    def arguments(self) -> tuple[Any, ...]:
        """seqs, tokens, numbers of messages, and the columns of the messages."""
        messages = [message for move in self.moves for message in move.messages]
        return (
            [seq for seq, _ in self._receipts],
            [token for _, token in self._receipts],
            [len(move.messages) for move in self.moves],
            *arrays(messages),
            *lane_column(messages),
        )

    def outcomes(self, answers: Sequence[int]) -> list[int]:
        """The answers, in the order of the moves as they were given."""
        by_place = dict(zip(self._order, answers, strict=True))
        return [by_place[place] for place in range(len(answers))]
