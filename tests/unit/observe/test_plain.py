import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tasuki.observe.plain import MAX_TEXT, clean, cut, escape, to_plain, to_text


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class HostileMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain öäü 襷", "plain öäü 襷"),
        ("a\r\n2026 INFO forged", r"a\r\n2026 INFO forged"),
        ("\x1b[31mred\x07\t", r"\x1b[31mred\x07\t"),
        ("a\x9bb\x85", r"a\x9bb\x85"),
        ("abc\u202edcb\u2028", r"abc\u202edcb\u2028"),
        ("\ud800", r"\ud800"),
    ],
)
def test_escape(text: str, expected: str) -> None:
    assert escape(text) == expected
    escape(text).encode()


def test_cut() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "abc… (+1 characters)"


def test_clean_masks_before_it_cuts() -> None:
    text = "x" * (MAX_TEXT - 20) + " redis://user:hunter2@host"
    assert "hunt" not in clean(text)


def test_clean_of_a_huge_text_looks_only_at_what_it_shows() -> None:
    result = clean("password=hunter2 " + "x" * 10_000_000)
    assert result.startswith("password=*** ")
    assert len(result) < MAX_TEXT + 40


def test_to_text_never_raises() -> None:
    assert to_text(5) == "5"
    assert to_text(Hostile()) == "<Hostile: its text raises RuntimeError>"
    assert "int: its text raises ValueError" in to_text(10**10_000)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (5, 5),
        (1.5, 1.5),
        (float("nan"), "nan"),
        (2**80, str(2**80)),
        ("password=x", "password=***"),
        (b"ab", "b'ab'"),
        ((1, {"a": None}), [1, {"a": None}]),
        ({"token": "abc", "n": 1}, {"token": "***", "n": 1}),
        ({5: {6}}, {"5": [6]}),
        (Hostile(), "<Hostile: its text raises RuntimeError>"),
        (HostileMapping(), "<HostileMapping: raises RuntimeError>"),
        ([[[[[["deep"]]]]]], [[[["[['deep']]"]]]]),
    ],
)
def test_to_plain(value: Any, expected: Any) -> None:
    assert to_plain(value) == expected
    json.dumps(to_plain(value), allow_nan=False)


def test_secret_fields_are_masked_by_name() -> None:
    assert to_plain(5, name="pwd") == "***"
    assert to_plain(None, name="pwd") is None


def test_long_containers_are_cut() -> None:
    assert to_plain(list(range(60)))[-2:] == [49, "… +10"]
    assert to_plain({str(number): number for number in range(60)})["…"] == "+10"


def test_a_container_of_itself_ends() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert json.dumps(to_plain(circle))
