"""How much of a storm of failures is recorded, and for how long."""

from __future__ import annotations

import pytest

from tasuki.consumers.settling import allowance
from tasuki.consumers.settling.allowance import AT_ONCE, PER_SECOND, Allowance
from tasuki.flow.attempts import TTL


def fail(one: Allowance, count: int, now: float) -> None:
    for at in range(count):
        assert one.take(now + at / PER_SECOND) == ""


def test_many_at_once_are_recorded_and_then_so_many_a_second() -> None:
    one = Allowance()
    assert [one.take(100.0) for _ in range(AT_ONCE + 1)] == [""] * AT_ONCE + ["more than 300 fail in a second"]
    assert [one.take(101.0) == "" for _ in range(PER_SECOND + 2)] == [True] * PER_SECOND + [False] * 2
    assert sum(one.take(200.0) == "" for _ in range(2 * AT_ONCE)) == AT_ONCE


def test_an_hour_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "PER_HOUR", 5)
    one = Allowance()
    assert [one.take(0.5 * at) for at in range(7)] == [""] * 5 + ["more than 5 fail in an hour"] * 2
    assert one.take(3599.0)
    assert one.take(3600.0) == ""


def test_few_are_kept_for_seven_days_and_many_for_less() -> None:
    one = Allowance()
    assert one.ttl() == TTL
    fail(one, 500, 0.0)
    assert one.ttl() == TTL
    fail(one, 9500, 10.0)
    assert one.ttl() == 36_000.0
    fail(one, 90_000, 100.0)
    assert one.ttl() == 3600.0


def test_the_hour_before_counts_and_the_one_before_that_does_not() -> None:
    one = Allowance()
    fail(one, 10_000, 0.0)
    one.take(3700.0)
    assert one.ttl() == 36_000.0
    one.take(3700.0 + 7200.0)
    assert one.ttl() == TTL
