import time
from typing import Any

import pytest

from tasuki.security.policy import MAX_LENGTH, parse_pattern


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*", ["", "a", "app:tasks"], []),
        ("app:tasks", ["app:tasks"], ["", "app:task", "app:tasks2", "xapp:tasks"]),
        ("app:*", ["app:", "app:tasks"], ["app", "xapp:tasks"]),
        ("queue.*", ["queue", "queue.publish", "queuex"], ["que", "a.queue"]),
        (".*", [".", ".x"], ["", "x"]),
        ("*.read", [".read", "doc.read"], ["read", "doc.reads"]),
        ("*mail*", ["mail", "app:mails", "x.mail"], ["mai", ""]),
        ("*.queue.*", [".queue", "a.queue.b", "x.queues"], ["queue"]),
        ("**", ["", "anything"], []),
        ("*.*", ["", "a.b", "ab"], []),
    ],
)
def test_what_patterns_match(pattern: str, yes: list[str], no: list[Any] | list[str]) -> None:
    parsed = parse_pattern(pattern)
    assert [value for value in yes if not parsed.matches(value)] == []
    assert [value for value in no if parsed.matches(value)] == []


@pytest.mark.parametrize(
    "trick",
    [
        "app:tasks\n",
        "APP:tasks",
        "app:Tasks",
        " app:tasks",
        "app:tasks/../x",
        "app:tasks.",
        "app:t\u0430sks",
        "app:tasks\u200b",
        "app:*",
        "app:tas\x00ks",
        "app:tasks" * 1200,
        "\uff41pp:tasks",
    ],
)
def test_an_exact_pattern_is_exact(trick: str) -> None:
    assert not parse_pattern("app:tasks").matches(trick)


def test_a_star_in_a_value_is_a_character() -> None:
    assert parse_pattern("app:*").matches("app:*")
    assert not parse_pattern("app:tasks").matches("*")


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "a pattern is empty"),
        ("a*b", "'a*b' has a wildcard in the middle; put '*' at the start or at the end"),
        ("***", "has a wildcard in the middle"),
        ("a" * (MAX_LENGTH + 1), "a pattern has 1001 characters; at most 1000 are allowed"),
    ],
)
def test_what_is_no_pattern(pattern: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("*", r"\*").replace("(", r"\(")):
        parse_pattern(pattern)


def test_matching_takes_time_in_proportion() -> None:
    pattern, value = parse_pattern("*" + "a" * 500 + "b" + "*"), "a" * 1_000_000
    start = time.thread_time()
    assert not pattern.matches(value)
    assert time.thread_time() - start < 1
