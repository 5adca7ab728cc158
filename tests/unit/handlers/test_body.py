from __future__ import annotations

import dataclasses
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple, NewType, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pydantic.dataclasses
import pytest

from tasuki.errors import CodecError, HandlerError, InvalidBodyError
from tasuki.handlers.body import (
    JSON_CHANGES,
    MSGPACK_CHANGES,
    check_type,
    crossing,
    forget,
    make_converter,
    make_decoder,
    problem_of_change,
    register,
    uses_pydantic,
)
from tests.unit.handlers.codec import JsonCodec


class Struct(msgspec.Struct):
    id: int
    child: Struct | None = None


@dataclasses.dataclass
class Data:
    id: int


class Typed(TypedDict):
    id: int


class Named(NamedTuple):
    id: int


class Model(pydantic.BaseModel):
    id: int


@pydantic.dataclasses.dataclass
class PydanticData:
    id: int


class Custom:
    id: int


class HoldsCustom(msgspec.Struct):
    customs: list[Custom]


UserId = NewType("UserId", int)

GOOD = [Struct, Data, Typed, Model, PydanticData]


@pytest.mark.parametrize(
    "type_",
    [
        *GOOD, Named, Any, int, UserId, list[Struct], dict[str, Data], Struct | None,
        Literal["a", "b"], tuple[int, str], Decimal, bytes, list[Model], Model | None,
    ],
)  # fmt: skip
def test_good_types(type_: Any) -> None:
    check_type(type_)


@pytest.mark.parametrize("type_", [Custom, HoldsCustom, list[Custom], dict[str, Custom | None]])
def test_types_that_no_body_can_become(type_: Any) -> None:
    with pytest.raises(HandlerError, match=r"cannot become Custom; use a msgspec\.Struct") as caught:
        check_type(type_)
    assert caught.value.kind == "Invalid"


@pytest.mark.parametrize("type_", [Struct | Data, [int], "text"])
def test_types_that_cannot_be_told_apart_or_are_none(type_: Any) -> None:
    with pytest.raises(HandlerError, match="cannot become"):
        check_type(type_)


@pytest.mark.parametrize("type_", GOOD)
def test_decoding(type_: Any) -> None:
    decode = make_decoder(JsonCodec(), type_)
    value = decode(b'{"id": 5}')
    assert isinstance(value, dict if type_ is Typed else type_)
    assert value == make_converter(type_)({"id": 5})
    with pytest.raises(InvalidBodyError):
        decode(b'{"id": "five"}')
    with pytest.raises(CodecError):
        decode(b"{")


def test_pydantic_within_a_generic() -> None:
    assert make_decoder(JsonCodec(), list[Model])(b'[{"id": 1}]') == [Model(id=1)]


def test_pydantic_errors_name_the_place_but_not_the_value() -> None:
    with pytest.raises(InvalidBodyError) as caught:
        make_decoder(JsonCodec(), Model)(b'{"id": "hunter2"}')
    assert str(caught.value).startswith("id: Input should be a valid integer")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(InvalidBodyError, match=r"^body: "):
        make_decoder(JsonCodec(), Model)(b"5")


@pytest.mark.parametrize("type_", GOOD)
def test_converting_arguments(type_: Any) -> None:
    convert = make_converter(type_)
    value = convert({"id": 5})
    assert convert(value) == value
    with pytest.raises(InvalidBodyError):
        convert({"id": "five"})


def test_any_argument_stays_as_it_is() -> None:
    value = object()
    assert make_converter(Any)(value) is value


def test_without_pydantic_nothing_is_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, "pydantic")
    assert not uses_pydantic(Struct)


NOW = datetime(2026, 12, 1, tzinfo=UTC)


class Color(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


@dataclass
class Order:
    at: datetime


class Point(NamedTuple):
    x: int


class Own:
    pass


def json(value: Any) -> str:
    return problem_of_change(value, "JSON", JSON_CHANGES, keeps_keys=False)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 1, 1.5, "x", [], {}, [1, {"a": [None]}], (1, 2), Point(1), OrderedDict(a=1), Level.LOW,
        Order(NOW), {"order": Order(NOW)},
    ],
    ids=repr,
)  # fmt: skip
def test_these_are_kept(value: Any) -> None:
    assert json(value) == ""


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({1: 2}, "body has the key 1 (int), which JSON carries as a text; publish the keys as texts"),
        ({"a": {True: 2}}, "body['a'] has the key True (bool), which JSON carries as a text"),
        ({"a": {1, 2}}, "body['a'] is a set, which JSON carries as a list; publish sorted(body['a'])"),
        ([frozenset("a")], "body[0] is a frozenset, which JSON carries as a list; publish sorted(body[0])"),
        ({"at": NOW}, "body['at'] is a datetime, which JSON carries as a text; publish body['at'].isoformat()"),
        ([date(2026, 1, 1)], "body[0] is a date"),
        ([time(12)], "body[0] is a time"),
        ([timedelta(1)], "body[0] is a timedelta, which JSON carries as a text; publish body[0].total_seconds()"),
        ({"n": Decimal("1.5")}, "body['n'] is a Decimal, which JSON carries as a text; publish str(body['n'])"),
        ([UUID(int=1)], "body[0] is a UUID, which JSON carries as a text"),
        ([PurePosixPath("x")], "body[0] is a PurePosixPath, which JSON carries as a text"),
        ([Color.RED], "body[0] is a Color, which JSON carries as its value; publish body[0].value"),
        ({"raw": b"x"}, "body['raw'] is a bytes, which JSON carries as base64 text"),
        (NOW, "body is a datetime"),
        ((1, float("nan")), "body[1] is a number that is not finite (NaN, infinity); send null"),
    ],
    ids=repr,
)
def test_what_would_be_changed_is_named_with_its_place_and_a_way_out(value: Any, says: str) -> None:
    assert json(value).startswith(says)


def test_message_pack_keeps_bytes_and_keys() -> None:
    kept = {1: b"x"}
    assert problem_of_change(kept, "MessagePack", MSGPACK_CHANGES, keeps_keys=True) == ""
    assert "is a set" in problem_of_change([{1}], "MessagePack", MSGPACK_CHANGES, keeps_keys=True)


def test_a_converter_says_how_a_type_is_carried() -> None:
    register(Own, str, lambda text: Own())
    try:
        assert json([Own()]) == ""
    finally:
        forget(Own)


def test_a_body_crosses_to_the_worker_as_plain_data_or_not_at_all() -> None:
    assert crossing({"order": Order(NOW), "raw": b"x", 1: 2}) == {"order": {"at": "2026-12-01T00:00:00Z"},
                                                                 "raw": b"x", 1: 2}  # fmt: skip
    with pytest.raises(HandlerError, match=r"body\['at'\] is a datetime, which the way to the worker carries"):
        crossing({"at": NOW})
    own = Own()
    assert crossing(own) is own
