"""The fingerprint of a dead letter: equal where only numbers, names and addresses differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.queues.dead.cause import MAX_LINE, cause_of, first_line, normalized


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("ConnectError: https://user:pw@api.example/v1?q=7 is unavailable", "ConnectError: <url> is unavailable"),
        ("no mailbox ada.l+x@mail.example.org", "no mailbox <email>"),
        ("FileNotFoundError: /srv/data/2026/a.csv", "FileNotFoundError: <path>"),
        ("cannot read C:\\data\\in\\a.csv now", "cannot read <path> now"),
        ("KeyError: 'A4'", "KeyError: <text>"),
        ('field "name" («prénom») 注文「A-7」がない', "field <text> (<text>) 注文<text>がない"),
        ("can't do this, don't", "can't do this, don't"),
        ("'x' is first", "<text> is first"),
        ("object at 0x7f3a and 3f2504e0-4f89-41d3-9a0c-0305e82c3301", "object at <hex> and <hex>"),
        ("digest deadbeefcafe01 wrong", "digest <hex> wrong"),
        ("took -3.5 s of 1,000 (1e-05), try7", "took <n> s of <n> (<n>), try<n>"),
        ("\n  first\nsecond 2", "first"),
        ("", ""),
    ],
)
def test_what_differs_between_messages_becomes_a_word(error: str, line: str) -> None:
    assert normalized(error) == line
    assert normalized(line) == line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("KeyError: 'street'", "KeyError: 'street'"),
        ("ModuleNotFoundError: No module named 'shop.mail'", "ModuleNotFoundError: No module named 'shop.mail'"),
        ("AttributeError: 'NoneType' object has no attribute 'id'",) * 2,
        ("TypeError: f() got an unexpected keyword argument 'size'",) * 2,
        ("NameError: name 'total' is not defined",) * 2,
        ("KeyError: 'order 7 of Ada'", "KeyError: <text>"),
        ("KeyError: 'order-4711'", "KeyError: 'order-<n>'"),
        ("KeyError: 'a1b2c3d4e5f60718'", "KeyError: '<hex>'"),
        ("ValueError: 'street' is no street", "ValueError: <text> is no street"),
    ],
)
def test_names_stay_in_errors_that_are_about_names(error: str, line: str) -> None:
    assert normalized(error, error.partition(":")[0]) == line


def test_errors_about_two_names_are_two_causes() -> None:
    def cause(error_type: str, name: str) -> str:
        return cause_of("max_attempts", error_type, "jobs.py:send", f"KeyError: {name!r}")

    assert cause("KeyError", "address") != cause("KeyError", "street")
    assert cause("ValueError", "address") == cause("ValueError", "street")


def test_each_part_counts() -> None:
    parts = ("max_attempts", "KeyError", "jobs.py:send", "KeyError: 'A4'")
    causes = {cause_of(*parts)}
    for place in range(4):
        causes.add(cause_of(*(part + "x" * (number == place) for number, part in enumerate(parts))))
    assert len(causes) == 5
    assert all(len(cause) == 12 and set(cause) <= set("0123456789abcdef") for cause in causes)
    assert cause_of(*parts[:3], "KeyError: 'A5'\nmore") == cause_of(*parts)
    assert cause_of("a", "b", "", "") != cause_of("a", "", "b", "")


def test_only_the_start_of_a_line_counts() -> None:
    long = "word " * 1000
    assert len(first_line(long)) <= MAX_LINE
    assert normalized(long + "a") == normalized(long + "b")


@pytest.mark.parametrize("piece", ["'", '"', "a@", "a.", "/a", "a/", "://", "«", "「", "0x", "-", "1,", "f" * 9, "a:"])
def test_hostile_texts_are_bounded(piece: str) -> None:
    """No more than the pieces of a cut line can come out, whatever goes in."""
    assert len(normalized(piece * 10_000)) <= 3 * MAX_LINE


@given(st.text())
def test_any_text_has_a_cause(text: str) -> None:
    assert len(cause_of("max_attempts", text, text, text)) == 12


def test_a_lone_surrogate_has_a_cause() -> None:
    assert len(cause_of("max_attempts", "", "", "caf\udce9")) == 12
