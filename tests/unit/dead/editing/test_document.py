"""The text that an editor opens."""

from __future__ import annotations

import pytest

from tasuki.dead.editing.body import Shown
from tasuki.dead.editing.document import annotated, changes, read, write
from tasuki.dead.editing.problems import EditError, Problem
from tasuki.message import HeaderValue

HEADERS: dict[str, HeaderValue] = {
    "tenant": "acme", "n": 1, "f": 1.5, "yes": True, "a: b": "c", " odd": "\u202e\n#!", '"q"': "", "#!x": 1,
    "reply_to": "r", "x_cause": "ab\ncd", "attempts": 5,
}  # fmt: skip
JSON = Shown("json", '{\n  "a": 1\n}')


def test_a_document_comes_back_as_it_was() -> None:
    text = write("m-1", "app:dead", "app:tasks", HEADERS, JSON)
    found = read(text, has_text=True)
    assert found.headers == {name: value for name, value in HEADERS.items() if name not in ("x_cause", "attempts")}
    assert {name: type(value) for name, value in found.headers.items()}["yes"] is bool
    assert found.text == JSON.text
    assert changes(HEADERS, found.headers) == found.headers
    assert "#!   x_cause: ab\\ncd\n" in text
    assert "#! careful: the reply of its handler goes to this queue\nreply_to" in text


def test_a_hostile_id_and_header_add_no_line() -> None:
    text = write("a\nx: 1", "q", "t", {"h\nx": 1, "x_\ny": "\n"}, JSON)
    assert read(text, has_text=True).headers == {"h\nx": 1}


def test_a_body_that_is_no_text_stays() -> None:
    text = write("m", "q", "t", {}, Shown("bytes", "", "it is not UTF-8"))
    assert "#! The body stays: it is not UTF-8" in text
    assert read(text, has_text=False).text is None


def test_changes_of_the_text() -> None:
    text = write("m", "q", "t", HEADERS, JSON).replace('tenant: "acme"\n', "").replace('"a": 1', '"a": 2')
    found = read(text + "\n\n", has_text=True)
    assert changes(HEADERS, found.headers)["tenant"] is None
    assert found.text == '{\n  "a": 2\n}'


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("no colon", "write name: value"),
        (": 1", "write name: value"),
        ('"open: 1', "write name: value"),
        ('"a" 1', "write name: value"),
        ("a: acme", "put a text into quotes"),
        ("a: [1]", "must be true, false, a number or a text"),
        ("a: null", "must be true, false, a number or a text"),
        ("a: " + "[" * 100_000, "recursion"),
        ("n: 2\nn: 3", "it is there twice"),
    ],
)
def test_a_line_that_is_no_header_is_a_problem(line: str, says: str) -> None:
    with pytest.raises(EditError) as caught:
        read(f"{line}\n#! --- body ---\n1", has_text=True)
    assert says in caught.value.problems[0].text


def test_problems_stand_above_their_lines_and_go_with_the_next_round() -> None:
    text = write("m", "q", "t", HEADERS, JSON)
    problems = [
        Problem("body", "no int", 2),
        Problem("body", "whole"),
        Problem("header.n", "bad\n"),
        Problem("", "key"),
    ]
    marked = annotated(text, problems)
    lines = marked.split("\n")
    assert lines[0] == "#! ERROR: key"
    assert lines[lines.index("n: 1") - 1] == "#! ERROR: bad\\n"
    assert lines[lines.index('  "a": 1') - 1] == "#! ERROR: no int"
    assert lines[lines.index("{") - 1] == "#! ERROR: whole"
    assert read(marked, has_text=True) == read(text, has_text=True)
    assert annotated(marked, []) == text


def test_a_problem_of_a_line_that_is_no_header_stands_above_it() -> None:
    text = "good: 1\nacme\n#! --- body ---\n1"
    with pytest.raises(EditError) as caught:
        read(text, has_text=True)
    assert annotated(text, caught.value.problems).startswith("good: 1\n#! ERROR: write name: value\nacme\n")
