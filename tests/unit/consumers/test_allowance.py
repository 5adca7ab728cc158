"""How much of a storm of failures is recorded, and for how long."""

from __future__ import annotations

import pytest

from tasuki.flow.attempts import TTL, lifetime
from tasuki.state import record_rate
from tasuki.state.record_rate import AT_ONCE, PER_SECOND, Allowance, Hour


def test_many_at_once_are_recorded_and_then_so_many_a_second() -> None:
    one = Allowance("c", Hour())
    assert [one.take(100.0) for _ in range(AT_ONCE + 1)] == [""] * AT_ONCE + ["more than 300 fail in a second"]
    assert [one.take(101.0) == "" for _ in range(PER_SECOND + 2)] == [True] * PER_SECOND + [False] * 2
    assert sum(one.take(200.0) == "" for _ in range(2 * AT_ONCE)) == AT_ONCE


def test_all_consumers_of_a_process_share_an_hour_and_each_has_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many consumers fail at once, a process does not fill its store."""
    monkeypatch.setattr(record_rate, "PER_HOUR", 5)
    monkeypatch.setattr(record_rate, "EACH", 2)
    shared = Hour()
    loud, quiet = Allowance("loud", shared), Allowance("quiet", shared)
    assert [loud.take(0.5 * at) for at in range(7)] == [""] * 5 + ["more than 5 fail in an hour"] * 2
    assert [quiet.take(10.0) for _ in range(3)] == ["", "", "more than 5 fail in an hour"]
    assert loud.take(3599.0)
    assert [loud.take(3600.0), quiet.take(3600.0)] == ["", ""]


def test_the_more_there_are_in_an_hour_the_shorter_they_are_kept() -> None:
    one = Hour()
    assert one.longest() > TTL
    for _ in range(100):
        one.take("c", 0.0)
    assert one.longest() == 100 * 3600.0
    for _ in range(9_900):
        one.take("c", 10.0)
    assert one.longest() == 3600.0
    one.take("c", 3700.0)
    assert one.longest() == 3600.0  # the hour before counts
    one.take("c", 3700.0 + 7200.0)
    assert one.longest() > TTL  # and the one before that does not


def test_a_record_is_kept_until_the_attempts_after_it_and_a_day_more() -> None:
    assert lifetime(0.0) == 86_400.0
    assert lifetime(12 * 3600.0) == 86_400.0 + 5 * 12 * 3600.0
