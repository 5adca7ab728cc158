"""What a batch handler returned, as one result for each message."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.consumers.batch import results_of
from tasuki.errors import HandlerError, ResultError

ERROR = ValueError("no")


@pytest.mark.parametrize(
    ("result", "results"),
    [
        (None, [None, None]),
        (False, [False, False]),
        ([1, ERROR], [1, ERROR]),
        ((False, None), (False, None)),
    ],
)
def test_each_message_has_its_own(result: Any, results: Any) -> None:
    assert results_of(result, 2) == results


@pytest.mark.parametrize("result", [[], [1], [1, 2, 3]])
def test_a_list_of_another_length_is_an_error_that_names_both(result: list[int]) -> None:
    with pytest.raises(HandlerError, match=f"returned a list of {len(result)} for a batch of 2: return one") as e:
        results_of(result, 2)
    assert e.value.kind == "Invalid"


def test_anything_else_is_a_success_that_answers_no_message() -> None:
    first, second = results_of({"rows": 2}, 2)
    assert type(first) is type(second) is ResultError
    assert "returned dict, not a list" in str(first)
