"""The rule which parts of a body a codec would change."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from tasuki.errors import HandlerError
from tasuki.handlers.body import forget, register
from tasuki.handlers.unchanged import JSON_CHANGES, MSGPACK_CHANGES, crossing, problem_of_change

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
