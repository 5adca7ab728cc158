"""The least cost of some runs."""

from __future__ import annotations

import pytest

from tests.support.least import MOST_RUNS, Least


def test_a_cheap_run_is_enough() -> None:
    least = Least(seconds=1.0, late=0.2)
    assert least.is_open
    least.add(seconds=1.0, late=0.1)
    assert not least.is_open
    least.check()


def test_each_cost_may_be_small_in_another_run() -> None:
    least = Least(seconds=1.0, late=0.2)
    least.add(seconds=3.0, late=0.1)
    assert least.is_open
    least.add(seconds=0.5, late=0.5)
    assert not least.is_open
    least.check()


def test_what_is_dear_in_every_run_is_told() -> None:
    least = Least(seconds=1.0, late=0.2)
    runs = 0
    while least.is_open:
        least.add(seconds=0.1, late=0.3)
        runs += 1
    assert runs == MOST_RUNS
    with pytest.raises(AssertionError, match=r"'late': 0\.3"):
        least.check()
