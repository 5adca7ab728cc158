"""Uniqueness: the options of a publish and the rule of its queue, joined for the driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

from tasuki.contracts.driver import ACTS, Act, Span, Unique
from tasuki.errors import PublishError
from tasuki.message import HeaderValue
from tasuki.queues.messages.headers import check_name
from tasuki.queues.messages.lanes import ValuePath
from tasuki.units import Duration, format_duration, parse_duration

UniqueFor = Literal["pending", "running"] | Duration
"""``pending``: while a message of the key waits; ``running``: until it is done; a duration: for so long."""


OPTIONS = ("unique", "unique_for", "on_conflict", "unique_max")
"""The options of a publish that make :class:`Asked`."""


DOES = {
    "pending": "keep one waiting message per key (unique_for='pending')",
    "running": "keep one message per key until it is done (unique_for='running')",
    "window": "keep one message per key for a time (unique_for='10m')",
    "keep": "keep the first message of a key (on_conflict='keep')",
    "replace": "replace the waiting message of a key (on_conflict='replace')",
    "extend": "delay the waiting message of a key again (on_conflict='extend')",
}
"""What a driver must do for each span and act."""


_EXTENSIONS = 10
"""``unique_max`` is this many delays, unless it is given."""


class Asked(NamedTuple):
    """The options of one publish; None: as its queue says."""

    unique: str | None = None
    unique_for: UniqueFor | None = None
    on_conflict: Act | None = None
    unique_max: Duration | None = None


NOTHING_ASKED = Asked()


@dataclass(frozen=True, slots=True)
class UniqueRule:
    """How the messages of a queue are unique, unless a publish says otherwise."""

    key: ValuePath
    span: Span = "pending"
    act: Act = "keep"
    latest: float | None = None


def unique_of(
    asked: Asked, rule: UniqueRule | None, body: object, headers: Mapping[str, HeaderValue] | None, delay: float
) -> Unique | None:
    """What the driver must do; None: the message is stored beside all others.

    Raises:
        PublishError: the options contradict each other, or a key cannot be one.
    """
    key = asked.unique
    if key is None and rule is not None:
        key = rule.key.read(body, headers)
    if key is None:
        if given := [name for name, value in zip(OPTIONS, asked, strict=True) if value is not None]:
            raise PublishError(f"{given[0]} needs a key: give it with unique, as in unique='invoice-7'")
        return None
    span = rule.span if rule is not None else "pending"
    if asked.unique_for is not None:
        span = _span(asked.unique_for)
    act = _act(asked.on_conflict) if asked.on_conflict is not None else rule.act if rule is not None else "keep"
    latest = rule.latest if rule is not None else None
    if asked.unique_max is not None:
        latest = _seconds("unique_max", asked.unique_max)
    return Unique(check_name("unique", key), span, act, _latest(act, delay, latest, asked.unique_max is not None))


def _latest(act: Act, delay: float, latest: float | None, is_asked: bool) -> float:
    if act != "extend":
        if is_asked:
            raise PublishError("unique_max is for on_conflict='extend': it bounds how long a message is delayed again")
        return 0.0
    if not delay:
        raise PublishError("on_conflict='extend' needs a delay, as in delay='5s': each publish begins it again")
    if latest is None:
        return _EXTENSIONS * delay
    if latest < delay:
        raise PublishError(
            f"unique_max is {format_duration(latest)} and the delay {format_duration(delay)}: give a longer unique_max"
        )
    return latest


def _span(value: object) -> Span:
    if value in ("pending", "running"):
        return cast("Span", value)
    seconds = _seconds("unique_for", value, "'pending', 'running' or a time such as '10m'")
    if not seconds:
        raise PublishError("unique_for must be longer than 0 seconds")
    return seconds


def _act(value: Any) -> Act:
    if value not in ACTS:
        raise PublishError(f"on_conflict must be 'keep', 'replace' or 'extend', not {value!r:.80}")
    return cast("Act", value)


def _seconds(what: str, value: object, choices: str = "a time such as '10m'") -> float:
    try:
        return parse_duration(value)
    except ValueError:
        raise PublishError(f"{what} must be {choices}, not {value!r:.80}") from None
