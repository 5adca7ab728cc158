"""Names as SQS allows them, and no two alike."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.drivers.sqs.limits import broker_name, token


@pytest.mark.parametrize(
    ("queue", "standard", "fifo"),
    [
        ("tasks", "tasks", "tasks.fifo"),
        ("tasks.fifo", "tasks", "tasks.fifo"),
        ("x" * 75, "x" * 75, "x" * 75 + ".fifo"),
        ("app:tasks", "app-tasks-8d77b158", "app-tasks-8d77b158.fifo"),
    ],
)
def test_names(queue: str, standard: str, fifo: str) -> None:
    assert broker_name(queue, is_fifo=False) == standard
    assert broker_name(queue, is_fifo=True) == fifo


@given(st.text(min_size=1, max_size=300), st.booleans())
def test_every_name_is_allowed(queue: str, is_fifo: bool) -> None:
    name = broker_name(queue, is_fifo=is_fifo)
    assert len(name) <= 80
    assert re.fullmatch(r"[A-Za-z0-9_-]+(\.fifo)?", name, re.ASCII)
    assert name.endswith(".fifo") == is_fifo


@given(st.lists(st.text("ab.-:_", min_size=1, max_size=100), min_size=2, max_size=2, unique=True))
def test_names_that_had_to_change_stay_apart(queues: list[str]) -> None:
    first, second = (broker_name(queue, is_fifo=True) for queue in queues)
    assert first != second


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("customer-17", "customer-17"),
        ("!~" * 64, "!~" * 64),
        ("", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ],
)
def test_tokens(text: str, expected: str) -> None:
    assert token(text) == expected


@given(st.text(max_size=300))
def test_every_token_is_allowed(text: str) -> None:
    assert re.fullmatch(r"[!-~]{1,128}", token(text), re.ASCII)
