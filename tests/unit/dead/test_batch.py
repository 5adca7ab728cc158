"""The record of a batch, and what it tells."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tasuki.dead.batch import Batch, decode, encode

BATCH = Batch("1", "retry", "app:dead", "dead", 5.0, "ana")


def test_it_comes_back_from_its_value() -> None:
    batch = replace(BATCH, group=("cause", "9f"), pending=("a", "b"), total=3, canary=None)
    assert decode(encode(batch)) == batch


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"id": 1}', b"\xff", b"[" * 100_000])
def test_a_value_of_another_version_is_none(value: bytes) -> None:
    assert decode(value) is None


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, None),
        ({"total": 10, "moved": 3, "stayed": 1, "gone": 2}, 4),
        ({"total": 1, "moved": 3}, 0),
        ({"total": 10, "state": "done"}, 0),
        ({"total": 10, "is_back": True}, 0),
    ],
)
def test_what_is_left(changes: dict[str, object], left: int | None) -> None:
    assert replace(BATCH, **changes).left == left


@pytest.mark.parametrize(
    ("changes", "can"),
    [
        ({}, False),
        ({"moved": 1}, True),
        ({"pending": ("a",)}, True),
        ({"moved": 1, "kept": False}, False),
        ({"moved": 1, "state": "undoing"}, False),
        ({"moved": 1, "state": "undone"}, False),
    ],
)
def test_whether_it_can_be_undone(changes: dict[str, object], can: bool) -> None:
    assert replace(BATCH, **changes).can_undo is can


def test_as_plain_data() -> None:
    batch = replace(BATCH, group=("type", "KeyError"), moved=7, undone=4, is_back=True, state="undone", doubt=("a",))
    shown = batch.as_dict()
    assert shown["group"] == {"by": "type", "key": "KeyError", "words": ""}
    assert (shown["done"], shown["undone"], shown["started"], shown["unsure"]) == (7, 4, 3, 1)
    assert BATCH.as_dict()["group"] is None
    assert BATCH.started == 0
    assert BATCH.is_driven
    assert not replace(BATCH, state="paused").is_driven
