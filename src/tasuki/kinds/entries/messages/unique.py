"""``unique`` of a queue: one message at a time for each value of a key."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tasuki.fields.types import Config, PositiveDuration, Text, at_field
from tasuki.queues.messages.lanes import parse_path
from tasuki.queues.uniqueness import UniqueRule
from tasuki.scalars import settle
from tasuki.units import parse_duration


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
