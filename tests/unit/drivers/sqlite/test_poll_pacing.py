"""When the SQLite driver looks, and when it may sleep: the decision alone."""

from __future__ import annotations

import pytest

from tasuki.drivers.sqlite.thread.poll_pacing import AHEAD, LONGEST, MISSES, QUIET, SHORTEST, Looks, Pause

SWEEP_AT = 1000.0


def looking(*, now: float = 100.0) -> Looks:
    """It has taken a message long ago, looked, and found nothing."""
    looks = Looks()
    looks.looked(now, has_heard=False, has_found=False)
    return looks


@pytest.mark.parametrize(("quiet", "seconds"), [(0.0, SHORTEST), (0.5, 0.02), (1.0, LONGEST), (60.0, LONGEST)])
def test_deaf_it_looks_often_while_messages_flow(quiet: float, seconds: float) -> None:
    looks = Looks()
    looks.is_deaf = True
    looks.worked(100.0, has_rung=True, has_taken=True)
    looks.looked(100.0 + quiet, has_heard=False, has_found=False)
    pause = looks.pause(100.0 + quiet, SWEEP_AT)
    assert pause == pytest.approx((seconds, False))


def test_it_sleeps_only_when_it_is_quiet() -> None:
    looks = Looks()
    looks.worked(100.0, has_rung=True, has_taken=True)
    looks.looked(100.001, has_heard=True, has_found=False)
    assert looks.pause(100.001, SWEEP_AT) == pytest.approx((SHORTEST, False))
    assert looks.pause(100.0 + 2 * QUIET, 101.0) == pytest.approx((1.0 - 2 * QUIET, True))


def test_what_is_due_ends_any_pause() -> None:
    looks = looking()
    assert looks.pause(100.0, 100.5) == Pause(0.5, is_deep=True)
    assert looks.pause(100.0, 99.0) == Pause(0.0, is_deep=True)
    looks.is_deaf = True
    assert looks.pause(100.0, 100.01) == pytest.approx((0.01, False))
    assert looks.pause(100.0, 99.0) == Pause(0.0, is_deep=False)


def test_a_crowd_of_rings_is_answered_at_the_pace_of_looks() -> None:
    looks, now, count = looking(), 100.0, 0
    looks.rang()
    while now < 110.0:  # it rings again as soon as it listens
        count += 1
        looks.looked(now, has_heard=False, has_found=False)
        assert looks.pause(now, SWEEP_AT).is_deep
        looks.rang()
        now += max(looks.pause(now, SWEEP_AT).seconds, 1e-6)
    assert count <= (10.0 + AHEAD) / LONGEST + 1


def test_a_few_rings_are_answered_at_once() -> None:
    looks = looking()
    for now in (100.0, 100.001, 100.002, 110.0):
        looks.rang()
        assert looks.pause(now, SWEEP_AT) == Pause(0.0, is_deep=False)
        looks.looked(now, has_heard=False, has_found=False)


def test_its_own_ring_is_forgotten_before_it_sleeps() -> None:
    looks = looking()
    looks.worked(100.5, has_rung=True, has_taken=False)
    assert looks.pause(100.5, SWEEP_AT) == pytest.approx((LONGEST, False))
    looks.looked(100.6, has_heard=True, has_found=False)
    assert looks.pause(100.6, SWEEP_AT).is_deep


def test_a_transaction_that_changes_nothing_does_not_disturb_the_sleep() -> None:
    looks = looking()
    looks.worked(100.5, has_rung=False, has_taken=False)
    assert looks.pause(100.5, SWEEP_AT).is_deep


def test_messages_without_a_ring_prove_in_the_end_that_there_are_none() -> None:
    looks = looking()
    for missed in range(1, MISSES + 1):
        assert looks.looked(101.0, has_heard=False, has_found=True) == (missed < MISSES)
        looks.looked(102.0, has_heard=False, has_found=False)


def test_a_ring_between_them_proves_the_contrary() -> None:
    looks = looking()
    for _ in range(10 * MISSES):
        assert looks.looked(101.0, has_heard=False, has_found=True)
        assert looks.looked(102.0, has_heard=False, has_found=False)
        looks.rang()
        assert looks.looked(103.0, has_heard=False, has_found=True)
        assert looks.looked(104.0, has_heard=False, has_found=False)


def test_a_ring_that_came_while_it_looked_counts() -> None:
    looks = looking()
    for _ in range(10 * MISSES):
        assert looks.looked(101.0, has_heard=True, has_found=True)
        assert looks.looked(102.0, has_heard=False, has_found=False)


def test_messages_that_flow_with_rings_prove_it_too() -> None:
    """They never let it sleep; two unlucky looks, each just before the ring, are hours apart."""
    looks = looking()
    for number in range(10 * MISSES):
        assert looks.looked(101.0 + number, has_heard=number % 2 == 1, has_found=True)
        looks.worked(101.0 + number, has_rung=True, has_taken=True)
        assert looks.looked(101.001 + number, has_heard=True, has_found=False)
        assert not looks.pause(101.001 + number, SWEEP_AT).is_deep
