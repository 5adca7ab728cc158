"""JSON Schemas of bodies: what msgspec and pydantic say, in draft 7, with one place for each class."""

from __future__ import annotations

import datetime
import enum
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest
from jsonschema_rs import Draft7Validator

from tasuki.handlers.body import forget, register
from tasuki.kinds.asyncapi.schemas import Schemas, keys_of, plain_default


class Color(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int = 0


class Fields(TypedDict):
    name: str


class Cat(msgspec.Struct, tag=True):
    """An animal: see amqp://user:hunter2@host/."""

    lives: int = 9


class Dog(msgspec.Struct, tag=True):
    name: str


@dataclass
class Mail:
    to: str
    file: Path = Path("x")


class Order(pydantic.BaseModel):
    items: tuple[int, str]
    secret: pydantic.SecretStr = pydantic.SecretStr("hunter2")
    mail: Mail | None = None


@dataclass
class Login:
    password: str = "hunter2"
    link: str = "redis://:hunter2@host/"


GOOD: list[tuple[Any, Any, Any]] = [
    (int, 1, "x"),
    (list[int], [1], ["x"]),
    (dict[str, float], {"a": 1.5}, {"a": "x"}),
    (tuple[int, str], [1, "x"], [1, 2]),
    (int | None, None, "x"),
    (Color, "red", "blue"),
    (Point, [1, 2], ["x"]),
    (Fields, {"name": "x"}, {}),
    (Cat | Dog, {"type": "Dog", "name": "x"}, {"type": "Dog"}),
    (datetime.datetime, "2026-01-01T00:00:00Z", 1),
    (Path, "x", 1),
    (Mail, {"to": "x"}, {}),
    (Order, {"items": [1, "x"], "mail": {"to": "y"}}, {"items": [1, 2]}),
    (list[Order], [{"items": [1, "x"]}], [{}]),
]


def validator(schemas: Schemas, type_: Any) -> Draft7Validator:
    schema = schemas.of(type_)
    assert schema is not None
    return Draft7Validator({"allOf": [schema], "components": {"schemas": schemas.components}})


@pytest.mark.parametrize("at", range(len(GOOD)), ids=lambda at: str(GOOD[at][0]))
def test_a_schema_accepts_what_the_handler_reads(at: int) -> None:
    schemas = Schemas([type_ for type_, _, _ in GOOD])
    type_, good, bad = GOOD[at]
    assert validator(schemas, type_).is_valid(good)
    assert not validator(schemas, type_).is_valid(bad)


def test_no_secret_of_a_default_or_a_docstring_is_shown() -> None:
    schemas = Schemas([Order, Login, Cat])
    assert "hunter2" not in str(schemas.components)
    assert schemas.components["Login"]["properties"]["link"]["default"] == "redis://:***@host/"
    assert schemas.components["Login"]["properties"]["password"] == {"type": "string"}


def test_a_converted_type_is_any_value_and_an_unknown_one_has_no_schema(caplog: pytest.LogCaptureFixture) -> None:
    class Money:
        pass

    class Other:
        pass

    register(Money, str, lambda text: Money())
    try:
        with caplog.at_level(logging.WARNING):
            schemas = Schemas([Money, list[Other], bytes, Any])
    finally:
        forget(Money)
    assert schemas.of(Money) == {"title": "Money"}
    assert schemas.of(Any) is None
    assert schemas.of(bytes) == {"type": "string", "format": "binary"}


def test_classes_of_one_name_have_two_places() -> None:
    first = msgspec.defstruct("Mail", [("to", str)])
    schemas = Schemas([first, Mail, Order])
    assert schemas.of(first) != schemas.of(Mail)
    assert validator(schemas, first).is_valid({"to": "x"})
    assert {schemas.components[key]["title"] for key in schemas.components} == {"Mail", "Order"}


def test_a_class_that_is_called_as_the_headers_takes_no_place_from_them() -> None:
    taken = msgspec.defstruct("TasukiHeaders", [("a", int)])
    schemas = Schemas([taken])
    assert schemas.headers_key not in schemas.components
    assert validator(schemas, taken).is_valid({"a": 1})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1, 1),
        (None, None),
        (Color.RED, "red"),
        (float("nan"), msgspec.UNSET),
        (object(), msgspec.UNSET),
        ({"token": "x", "a": ["http://u:p@h/"]}, {"a": ["http://u:***@h/"]}),
    ],
)
def test_defaults(value: Any, shown: Any) -> None:
    assert plain_default("field", value) == shown or shown is msgspec.UNSET
    assert plain_default("api_key", value) is msgspec.UNSET


def test_keys_are_plain_and_different() -> None:
    assert keys_of({1: "app:mails", 2: "app.mails"}).keys() == {1, 2}
    wanted = {name: name for name in ("app:mails", "a/b", "a_b", "a~b", "", "日本", "x" * 300, "x" * 301)}
    keys = keys_of(wanted)
    assert keys["app:mails"] == "app.mails"
    assert keys["a_b"] == "a_b"
    assert len(set(keys.values())) == len(wanted)
    assert all(key.isascii() and len(key) <= 80 for key in keys.values())


def test_a_key_that_looks_like_a_marked_one_is_not_taken_from_its_owner() -> None:
    marked = keys_of({"a/b": "a/b"})["a/b"]
    keys = keys_of({"a/b": "a/b", "own": marked})
    assert keys["own"] == marked
    assert keys["a/b"] != marked
