"""The rule of the heartbeat: which children are frozen."""

from __future__ import annotations

from tasuki.supervisor.children.asking import SignOfLife
from tasuki.supervisor.children.heartbeat import SilenceLimits, SilenceRule

RULE = SilenceLimits(silent=30.0, busy=300.0, look=2.0)


def watched(rule: SilenceRule, until: float, heard: dict[int, SignOfLife], begin: float = 0.0) -> dict[int, float]:
    """Look every two seconds; what the last check found."""
    found: dict[int, float] = {}
    for step in range(int((until - begin) / 2) + 1):
        found = rule.frozen(begin + 2 * step, heard)
    return found


def test_a_child_is_frozen_after_its_silence_and_not_before() -> None:
    heard = {1: SignOfLife(0.0), 2: SignOfLife(0.0)}
    rule = SilenceRule(RULE)
    assert watched(rule, 28.0, heard) == {}
    heard[2] = SignOfLife(28.0)
    assert rule.frozen(30.0, heard) == {1: 30.0}
    assert rule.frozen(32.0, heard) == {1: 32.0}


def test_a_child_that_starts_has_more_time() -> None:
    heard = {1: SignOfLife(0.0, is_first=True)}
    assert watched(SilenceRule(RULE), 298.0, heard) == {}
    assert watched(SilenceRule(RULE), 300.0, heard) == {1: 300.0}


def test_a_child_that_computes_has_more_time_until_it_stops_computing() -> None:
    rule, heard = SilenceRule(RULE), {1: SignOfLife(0.0)}
    for now in range(0, 300, 2):
        assert rule.frozen(now, heard, {1: now / 100}) == {}
    assert rule.frozen(300.0, heard, {1: 3.0}) == {1: 300.0}
    rule = SilenceRule(RULE)
    for now in range(0, 100, 2):
        assert rule.frozen(now, heard, {1: min(now, 60) / 100}) == ({1: now} if now >= 90 else {})


def test_silence_while_this_process_was_suspended_does_not_count() -> None:
    rule, heard = SilenceRule(RULE), {1: SignOfLife(0.0)}
    watched(rule, 10.0, heard)
    assert watched(rule, 1028.0, heard, begin=1000.0) == {}
    assert rule.frozen(1030.0, heard) == {1: 30.0}
