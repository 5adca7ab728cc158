"""Minutes: the counts of one process's queues in one minute, encoded in few bytes; no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec

MINUTE = 60.0
"""Seconds of a point."""
STEP = 5.0
"""Seconds of a step within a minute."""
STEPS = 12
MINUTES = 60
"""Points that are kept: an hour."""
OF_A_STEP = 3
"""Numbers of a step: published, done, failed."""


MOST = 2**26
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
"""More than a million a second; a point with more is none of ours."""
Range = Annotated[Sequence[Annotated[int, msgspec.Meta(ge=0, le=2**53)]], msgspec.Meta(max_length=2)]
"""The least and the most of some times, in microseconds."""
Counts = Annotated[Sequence[Count], msgspec.Meta(max_length=256)]


class Point(msgspec.Struct, array_like=True, gc=False):
    """One queue in one minute. Points of several processes are added."""

    published: Count = 0
    done: Count = 0
    failed: Count = 0
    dead: Count = 0
    """Messages that became dead letters."""
    ready: Annotated[int, msgspec.Meta(ge=-1, le=2**53)] = -1
    """Ready messages at the end of the minute; -1: not known."""
    busy: Count = 0
    """Handlers that ran at the end of the minute."""
    wait: Counts = ()
    """Waits of messages until their handlers started: bucket, count, bucket, count …"""
    run: Counts = ()
    """Times that handlers took, likewise."""
    steps: Counts = ()
    """Published, done and failed of each step of the minute; empty: nothing of them."""
    wait_range: Range = ()
    """The least and the most of the waits; empty: there was none."""
    run_range: Range = ()
    """Of the times of handlers, likewise."""


Queues = dict[str, dict[str, Point]]
"""Driver → queue at the broker → its point."""


class Minute(msgspec.Struct, array_like=True, gc=False):
    """The active queues of one process in one minute."""

    minute: int
    """Unix time in whole minutes."""
    host: str
    pid: int
    buckets: int
    """Buckets of the histograms; a version of Tasuki with other ones is not understood."""
    queues: Queues
    consumes: bool = False
    """Whether the process has consumers that run: a worker."""
    has_ended: bool = False
    """Whether it is the last minute of a process that closed in order."""


_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Minute)


def encode(minute: Minute, most: int) -> Iterator[bytes]:
    """The minute in values of at most about so many bytes; a thousand queues are about 60 KiB."""
    value = _encoder.encode(minute)
    pairs = [(driver, queue) for driver, queues in minute.queues.items() for queue in queues]
    if len(value) <= most or len(pairs) < 2:
        yield value
        return
    middle = len(pairs) // 2
    for part in (pairs[:middle], pairs[middle:]):
        queues: Queues = {}
        for driver, queue in part:
            queues.setdefault(driver, {})[queue] = minute.queues[driver][queue]
        yield from encode(msgspec.structs.replace(minute, queues=queues), most)


def decode(value: bytes) -> Minute | None:
    """The minute of a value; None: another version wrote it in a way that this one cannot read."""
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def sparse(counts: Sequence[int]) -> list[int]:
    """The buckets that counted something, each with its count."""
    return [number for bucket, count in enumerate(counts) if count for number in (bucket, min(count, MOST))]
