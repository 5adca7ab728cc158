"""``limit``, ``fair`` and ``unique`` of a queue: its rates, its lanes, and one message at a time for each key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core.core_schema import ValidationInfo

from tasuki.contracts.driver import Limit
from tasuki.fields.types import Config, Positive, PositiveDuration, Text, at_field
from tasuki.queues.messages.lanes import KEY, parse_lane_key, parse_path
from tasuki.queues.uniqueness import UniqueRule
from tasuki.scalars import settle
from tasuki.units import parse_duration, parse_rate

LEASE = 15.0
"""The default lease of a queue with places: a killed worker keeps its places as long as its messages."""

_BURST = 0.1
"""Seconds of its rate that a bucket holds, unless ``burst`` says how many messages it holds."""


def _rate(value: object) -> float:
    return parse_rate(settle(value))


def _lane_key(value: str) -> str:
    parse_lane_key(value)
    return value


Rate = Annotated[float, BeforeValidator(_rate, json_schema_input_type=float | str)]
"""Messages a second; written ``10/s``, ``100/m``, ``5/h`` or as a number a second."""

_MOST = 1_000_000_000

Count = Annotated[Positive, Field(le=_MOST)]
"""Messages: no more than every broker can count."""

LaneKey = Annotated[Text, AfterValidator(_lane_key)]
"""What the messages of a lane have in common."""


class LimitConfig(Config):
    """How fast the messages of a queue are handled, and how many at once, over all workers and machines."""

    rate: Rate | None = None
    """Messages in a time: 10/s, 100/m, 5/h; a bare number counts per second. Not given: no limit."""
    burst: Count | None = None
    """Most messages at once after a pause; default: what the rate gives in 100ms, at least 1."""
    concurrency: Count | None = None
    """Most messages that workers hold at once. Not given: no limit."""
    key: LaneKey | None = None
    """One such limit for each value of header.tenant, body.user.id or key (the order key); not given: one for all."""

    @model_validator(mode="after")
    def _limits_something(self) -> LimitConfig:
        if self.rate is None and self.concurrency is None:
            raise at_field("rate", "limit needs a rate (10/s), a concurrency, or both")
        if self.burst is not None and self.rate is None:
            raise at_field("burst", "burst is for a rate: it says how many messages may come at once after a pause")
        return self

    def limit(self) -> Limit:
        """The same as a driver keeps it."""
        if self.rate is None:
            return Limit(concurrency=self.concurrency)
        burst = self.burst if self.burst is not None else min(max(round(self.rate * _BURST), 1), _MOST)
        return Limit(self.rate, burst, self.concurrency)


class FairConfig(Config):
    """Turns: of each value of a key some messages, then of the next one, however many messages one of them has."""

    key: LaneKey
    """Whose messages take turns: header.tenant, body.user.id, or key (the order key)."""
    share: Count = 1
    """Most messages of one value in its turn; more are cheaper, fewer are fairer."""


def _limit_fields(value: object) -> object:
    """The fields of a limit of which only the rate is written."""
    return {"rate": value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value


def _limits(value: object, info: ValidationInfo) -> object:
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return tuple(map(_limit_fields, value))
    return (LimitConfig.model_validate(_limit_fields(value), context=info.context),)  # its problems at its own fields


def _one_of_each(limits: tuple[LimitConfig, ...]) -> tuple[LimitConfig, ...]:
    first: dict[bool, int] = {}
    for index, limit in enumerate(limits):
        by_key = limit.key is not None
        if by_key in first:
            what = "by a key" if by_key else "over the whole queue"
            remedy = (
                "write its rate and its concurrency in one" if by_key else "give one of them a key, or make them one"
            )
            raise at_field(index, f"limit has two limits {what}, and a queue has one of each kind; {remedy}")
        first[by_key] = index
    return limits


LimitsConfig = Annotated[
    tuple[LimitConfig, ...],
    BeforeValidator(_limits, json_schema_input_type=str | float | LimitConfig | list[str | float | LimitConfig] | None),
    AfterValidator(_one_of_each),
]
"""At most one limit over the whole queue, and one for each value of a key."""


def fair_fields(value: object) -> object:
    """The fields of turns of which only the key is written."""
    return {"key": value} if isinstance(value, str) else value


def whole_limit(limits: Sequence[LimitConfig]) -> LimitConfig | None:
    """The limit over the whole queue."""
    return next((limit for limit in limits if limit.key is None), None)


def limit_of_lanes(limits: Sequence[LimitConfig]) -> LimitConfig | None:
    """The limit for each value of its key."""
    return next((limit for limit in limits if limit.key is not None), None)


def with_paths(limits: Sequence[LimitConfig]) -> Iterator[tuple[tuple[str | int, ...], LimitConfig]]:
    """Each limit with its path in its entry; the only one may be written without a list."""
    for index, limit in enumerate(limits):
        yield ("limit", index) if len(limits) > 1 else ("limit",), limit


def lane_key(limits: Sequence[LimitConfig], fair: FairConfig | None) -> str | None:
    """By which key a queue has lanes; None: it has none."""
    if (limit := limit_of_lanes(limits)) is not None:
        return limit.key
    return None if fair is None else fair.key


def check_lanes(limits: Sequence[LimitConfig], fair: FairConfig | None, ordering: str) -> None:
    """Raise the error of two fields that would put one message into two lanes."""
    key = lane_key(limits, fair)
    if fair is not None and key != fair.key:
        problem = f"fair is by {fair.key} and limit by {key}, but a message is in one lane"
        raise at_field("fair", f"{problem}; write the same key in both, or remove one of them")
    if ordering == "key" and key not in (None, KEY):
        problem = f"ordering: key makes the key of a message its lane, and the lanes here are by {key}"
        raise at_field("ordering", f"{problem}; write key: key, or remove ordering: key")


def _value_path(value: str) -> str:
    parse_path(value)
    return value


def _span(value: object) -> object:
    if value in ("pending", "running"):
        return value
    try:
        seconds = parse_duration(settle(value))
    except ValueError:
        raise ValueError(f"{value!r} is neither 'pending' nor 'running' nor a time such as 10m") from None
    if not seconds:
        raise ValueError("give a time that is longer than 0")
    return seconds


class UniqueConfig(Config):
    """One message at a time for each value of a key; a message without the value is stored beside all others."""

    key: Annotated[Text, AfterValidator(_value_path)]
    """The value that is unique: header.tenant, or body.user.id."""
    for_: Annotated[
        Literal["pending", "running"] | float,
        BeforeValidator(_span, json_schema_input_type=Literal["pending", "running"] | PositiveDuration),
        Field(alias="for"),
    ] = "pending"
    """pending: while a message of the key waits; running: until it is done; a time: for so long after its publish."""
    on_conflict: Literal["keep", "replace", "extend"] = "keep"
    """keep the message that has the key; replace it while it waits; extend: replace it, and begin its delay again."""
    max: PositiveDuration | None = None
    """The longest time for which extend delays a message; not given: 10 times its delay."""

    @model_validator(mode="after")
    def _max_is_for_extend(self) -> UniqueConfig:
        if self.max is not None and self.on_conflict != "extend":
            raise at_field("max", "max is for on_conflict: extend")
        return self

    def rule(self) -> UniqueRule:
        """The same as the queue wants it."""
        return UniqueRule(parse_path(self.key), self.for_, self.on_conflict, self.max)


def unique_fields(value: object) -> object:
    """The fields of a rule of which only the key is written."""
    return {"key": value} if isinstance(value, str) else value
