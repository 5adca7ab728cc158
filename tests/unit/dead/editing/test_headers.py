"""Locked, sensitive and free headers, and their changes."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.dead.editing.headers import changed, class_of
from tasuki.dead.editing.problems import EditError, Problem
from tasuki.message import HeaderValue

LETTER: dict[str, HeaderValue] = {
    "tenant": "acme", "n": 1, "reply_to": "app:replies", "attempts": 3, "x_cause": "ab", "X_Odd": "foreign",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("attempts", "locked"), ("ATTEMPTS", "locked"), ("x_cause", "locked"), ("X_Cause", "locked"), ("x_", "locked"),
        ("reply_to", "sensitive"), ("traceparent", "sensitive"), ("tenant", "free"), ("id", "free"), ("xx", "free"),
    ],
)  # fmt: skip
def test_headers_have_three_classes(name: str, kind: str) -> None:
    assert class_of(name) == kind


def test_what_does_not_change_stays_but_for_what_tasuki_added() -> None:
    own, problems, warnings = changed(LETTER, {"tenant": "acme", "attempts": 3, "X_Odd": "foreign"})
    assert own == {"tenant": "acme", "n": 1, "reply_to": "app:replies", "X_Odd": "foreign"}
    assert (problems, warnings) == ([], [])


def test_changes_additions_and_removals() -> None:
    own, problems, warnings = changed(LETTER, {"tenant": None, "n": 1.0, "new": "\u202eא\0", "none": None})
    assert own == {"n": 1.0, "reply_to": "app:replies", "X_Odd": "foreign", "new": "\u202eא\0"}
    assert type(own["n"]) is float
    assert (problems, warnings) == ([], [])


def test_a_change_of_a_sensitive_header_is_allowed_with_a_warning() -> None:
    own, problems, [warning] = changed(LETTER, {"reply_to": None})
    assert "reply_to" not in own
    assert problems == []
    assert warning == "reply_to: the reply of its handler goes to this queue"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("attempts", 1, "only Tasuki sets it"),
        ("Attempts", 1, "only Tasuki sets it"),
        ("X_ODD", "b", "only Tasuki sets it"),
        ("x_cause", None, "only Tasuki sets it"),
        ("a\nb", 1, "printable"),
        ("a\r\nx_cause", 1, "printable"),
        ("\u202ea", 1, "printable"),
        ("a\0", 1, "printable"),
        ("", 1, "printable"),
        ("a" * 256, 1, "printable"),
        (3, 1, "must be text"),
        ("big", 2**63, "64 bits"),
        ("nan", float("nan"), "finite"),
        ("half", "\ud800", "Unicode"),
        ("list", [1], "must be a bool"),
        ("priority", 10, "0 to 9"),
        ("partition_key", "a\nb", "printable"),
        ("partition_key", 3, "must be text"),
        ("reply_to", 3, "must be text"),
        ("timestamp", "today", "Unix seconds"),
        ("timestamp", -1, "Unix seconds"),
    ],
)
def test_bad_changes_are_problems_at_their_headers(name: Any, value: Any, says: str) -> None:
    own, [problem], _ = changed(LETTER, {name: value, "good": 1})
    assert says in problem.text
    assert problem.field.startswith("header.")
    assert problem.field.isprintable()
    assert own["good"] == 1
    assert own.get("reply_to") == "app:replies"


def test_good_values_of_steering_headers() -> None:
    good: dict[str, HeaderValue | None] = {
        "priority": 9,
        "partition_key": "a",
        "timestamp": 1.5,
        "message_type": "send",
    }
    _, problems, warnings = changed({}, good)
    assert problems == []
    assert len(warnings) == 4


def test_too_many_headers_are_one_problem() -> None:
    _, [problem], _ = changed({}, {f"h{n}": n for n in range(129)})
    assert problem == Problem("headers", "129 headers are more than 128")


def test_a_problem_says_its_place() -> None:
    error = EditError([Problem("body", "bad", 3), Problem("header.a", "worse"), Problem("", "whole")])
    assert str(error) == "body, line 3: bad; header.a: worse; whole"
