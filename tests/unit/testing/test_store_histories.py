"""What the suite of stores makes of a history: too many tokens in a window, too many holders at once."""

from __future__ import annotations

import pytest

from tasuki.testing.conformance.clock import Taken, check_windows
from tasuki.testing.conformance.stores.killing import Step, most_at_once


def held(holder: str, began: float, ended: float) -> Step:
    return Step("held", began, ended, holder, "child")


def freed(holder: str, began: float) -> Step:
    return Step("freed", began, began, holder, "child")


@pytest.mark.parametrize(
    ("taken", "is_right"),
    [
        ([Taken(0.0, 0.1, 5)], True),
        ([Taken(0.0, 0.1, 6)], True),  # one may have come meanwhile
        ([Taken(0.0, 0.1, 7)], False),
        ([Taken(0.0, 0.1, 5), Taken(1.0, 1.1, 6)], True),
        ([Taken(0.0, 0.1, 5), Taken(1.0, 1.1, 7)], False),
        ([Taken(0.0, 0.1, 5), Taken(0.1, 0.2, 5)], False),
        ([Taken(0.0, 1.0, 5), Taken(0.1, 0.9, 5), Taken(0.2, 1.1, 5)], True),  # in any order within a second
        ([Taken(10.0, 10.1, 5), Taken(0.0, 0.1, 5), Taken(5.0, 5.1, 5)], True),
        ([Taken(0.0, 0.1, 1)] * 6, True),
        ([Taken(0.0, 0.1, 1)] * 7, False),
    ],
)
def test_windows(taken: list[Taken], is_right: bool) -> None:
    """Ten tokens a second, five at once."""
    if is_right:
        check_windows(taken, 10.0, 5)
    else:
        with pytest.raises(AssertionError, match=r"\d+ tokens in .* s, .* at most"):
            check_windows(taken, 10.0, 5)


@pytest.mark.parametrize(
    ("steps", "most"),
    [
        ([], 0),
        ([held("a", 0.0, 0.1)], 1),
        ([held("a", 0.0, 0.1), held("b", 0.2, 0.3)], 2),
        ([held("a", 0.0, 0.1), held("b", 1.0, 1.1)], 1),  # the lease of a has ended
        ([held("a", 0.0, 0.1), held("b", 0.9, 1.1)], 1),  # b's hold may have been after it
        ([held("a", 0.0, 0.1), freed("a", 0.2), held("b", 0.2, 0.3)], 1),
        ([held("a", 0.0, 0.1), freed("a", 0.5), held("b", 0.2, 0.3)], 2),
        ([held("a", 0.0, 0.1), held("a", 0.8, 0.9), held("b", 1.5, 1.6)], 2),  # renewed
        ([held("a", 0.0, 0.1), held("a", 0.8, 0.9), held("b", 1.9, 2.0)], 1),
        ([held("a", 0.0, 0.1), held("a", 0.5, 0.6), held("a", 0.9, 1.0)], 1),  # one holder is one place
        ([held("a", 0.0, 0.1), held("a", 2.0, 2.1), held("b", 1.2, 1.3)], 2),
        ([held("a", 0.0, 5.0), held("b", 0.0, 0.1)], 1),  # asleep from before its hold returned to after its lease
        ([held("a", 0.0, 0.1), held("b", 0.0, 0.1), held("c", 0.0, 0.1), freed("b", 0.1)], 2),
    ],
)
def test_holders_at_once(steps: list[Step], most: int) -> None:
    """A lease is a second."""
    assert most_at_once(steps, 1.0) == most
