"""Records of runs: the finished steps of a message with their results, and its pause; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tasuki.errors import HandlerError
from tasuki.state.records import part_of, read

RUNS = "run/"
"""Prefix of the keys: one for each message that has steps, by its queue's name at the broker and its id."""
MAX_RECORD = 256 * 1024
"""Bytes of one record."""
MAX_STEPS = 1000
RUN_TTL = 30 * 86400.0
"""Seconds for which a record is kept after its last step; it is deleted earlier, after the ack of its message."""


class Step(msgspec.Struct, frozen=True, array_like=True):
    """A finished step."""

    name: str
    number: int
    """Which call of ``step`` it was in its run, from 0."""
    at: float
    """Unix time of its worker."""
    result: msgspec.Raw
    """MessagePack."""


class Pause(msgspec.Struct, frozen=True, array_like=True):
    """A sleep, or a wait for a signal, that has begun; times in Unix seconds of the store's clock."""

    name: str
    since: float
    until: float


class RunRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The steps of one message; ``owner``: the delivery that continues them."""

    owner: str
    steps: list[Step] = []
    pauses: list[Pause] = []


_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(RunRecord)
_value = msgspec.msgpack.Decoder().decode


def run_key(queue: str, id: str) -> str:
    """The key of a message's record."""
    return f"{RUNS}{queue}/{part_of(id)}"


def encode(record: RunRecord) -> bytes:
    """The value under the key."""
    return _encoder.encode(record)


def decode(value: bytes) -> RunRecord:
    """The record of a value. Raises HandlerError (Internal): another version of Tasuki wrote it."""
    return read(_decoder, value, "the message's steps")


def result_of(step: Step) -> Any:
    """What the step has returned."""
    return _value(step.result)


def checked(record: RunRecord, name: str) -> bytes:
    """The value under the key after the step of this name. Raises HandlerError (Invalid): there is too much."""
    value = encode(record)
    if len(value) > MAX_RECORD:
        raise invalid(
            f"step {name!r}: the results of the message's steps would have {len(value)} bytes, and may have "
            f"{MAX_RECORD} in all; keep a large result in a store or a file, and return its key"
        )
    return value


def check_name(name: object, used: Mapping[str, int], done: Mapping[str, object]) -> None:
    """Raise HandlerError (Invalid): a step of this name must not begin."""
    if not isinstance(name, str) or not 1 <= len(name) <= 200:
        raise invalid(f"a step's name is text of 1 to 200 characters, not {name!r:.80}")
    if name in used:
        raise invalid(
            f"step {name!r} is used twice in one run; give each step its own name, as in "
            f'context.step(f"{name}-{{number}}", …)'
        )
    if name not in done and max(len(done), len(used)) >= MAX_STEPS:
        raise invalid(
            f"step {name!r}: a message has {MAX_STEPS} steps at most; let one step do more of the work, or publish a "
            "message for each part"
        )


def invalid(problem: str) -> HandlerError:
    """A mistake of the handler, which another attempt would repeat."""
    return HandlerError(problem, kind="Invalid", retryable=False)
