"""When the SQLite driver pacing, and when it may sleep: the decision alone."""

from __future__ import annotations

import pytest

from tasuki.drivers.sqlite.thread.waiting_receives import AHEAD, LONGEST, MISSES, QUIET, SHORTEST, Pause, PollPacing

SWEEP_AT = 1000.0


def polling(*, now: float = 100.0) -> PollPacing:
    """It has taken a message long ago, checked, and found nothing."""
    pacing = PollPacing()
    pacing.checked(now, was_woken=False, has_found=False)
    return pacing


@pytest.mark.parametrize(("quiet", "seconds"), [(0.0, SHORTEST), (0.5, 0.02), (1.0, LONGEST), (60.0, LONGEST)])
def test_without_wakeups_it_polls_often_while_messages_flow(quiet: float, seconds: float) -> None:
    pacing = PollPacing()
    pacing.must_poll = True
    pacing.worked(100.0, has_notified=True, has_taken=True)
    pacing.checked(100.0 + quiet, was_woken=False, has_found=False)
    pause = pacing.pause(100.0 + quiet, SWEEP_AT)
    assert pause == pytest.approx((seconds, False))


def test_it_sleeps_only_when_it_is_quiet() -> None:
    pacing = PollPacing()
    pacing.worked(100.0, has_notified=True, has_taken=True)
    pacing.checked(100.001, was_woken=True, has_found=False)
    assert pacing.pause(100.001, SWEEP_AT) == pytest.approx((SHORTEST, False))
    assert pacing.pause(100.0 + 2 * QUIET, 101.0) == pytest.approx((1.0 - 2 * QUIET, True))


def test_due_messages_end_any_pause() -> None:
    pacing = polling()
    assert pacing.pause(100.0, 100.5) == Pause(0.5, is_deep=True)
    assert pacing.pause(100.0, 99.0) == Pause(0.0, is_deep=True)
    pacing.must_poll = True
    assert pacing.pause(100.0, 100.01) == pytest.approx((0.01, False))
    assert pacing.pause(100.0, 99.0) == Pause(0.0, is_deep=False)


def test_a_burst_of_wakeups_is_answered_at_the_pace_of_polling() -> None:
    pacing, now, count = polling(), 100.0, 0
    pacing.woke()
    while now < 110.0:  # it rings again as soon as it listens
        count += 1
        pacing.checked(now, was_woken=False, has_found=False)
        assert pacing.pause(now, SWEEP_AT).is_deep
        pacing.woke()
        now += max(pacing.pause(now, SWEEP_AT).seconds, 1e-6)
    assert count <= (10.0 + AHEAD) / LONGEST + 1


def test_a_few_wakeups_are_answered_at_once() -> None:
    pacing = polling()
    for now in (100.0, 100.001, 100.002, 110.0):
        pacing.woke()
        assert pacing.pause(now, SWEEP_AT) == Pause(0.0, is_deep=False)
        pacing.checked(now, was_woken=False, has_found=False)


def test_its_own_ring_is_forgotten_before_it_sleeps() -> None:
    pacing = polling()
    pacing.worked(100.5, has_notified=True, has_taken=False)
    assert pacing.pause(100.5, SWEEP_AT) == pytest.approx((LONGEST, False))
    pacing.checked(100.6, was_woken=True, has_found=False)
    assert pacing.pause(100.6, SWEEP_AT).is_deep


def test_a_transaction_that_changes_nothing_does_not_disturb_the_sleep() -> None:
    pacing = polling()
    pacing.worked(100.5, has_notified=False, has_taken=False)
    assert pacing.pause(100.5, SWEEP_AT).is_deep


def test_messages_without_a_ring_prove_in_the_end_that_there_are_none() -> None:
    pacing = polling()
    for missed in range(1, MISSES + 1):
        assert pacing.checked(101.0, was_woken=False, has_found=True) == (missed < MISSES)
        pacing.checked(102.0, was_woken=False, has_found=False)


def test_a_ring_between_them_proves_the_contrary() -> None:
    pacing = polling()
    for _ in range(10 * MISSES):
        assert pacing.checked(101.0, was_woken=False, has_found=True)
        assert pacing.checked(102.0, was_woken=False, has_found=False)
        pacing.woke()
        assert pacing.checked(103.0, was_woken=False, has_found=True)
        assert pacing.checked(104.0, was_woken=False, has_found=False)


def test_a_ring_that_came_while_it_looked_counts() -> None:
    pacing = polling()
    for _ in range(10 * MISSES):
        assert pacing.checked(101.0, was_woken=True, has_found=True)
        assert pacing.checked(102.0, was_woken=False, has_found=False)


def test_messages_that_flow_with_wakeups_prove_it_too() -> None:
    """They never let it sleep; two unlucky pacing, each just before the ring, are hours apart."""
    pacing = polling()
    for number in range(10 * MISSES):
        assert pacing.checked(101.0 + number, was_woken=number % 2 == 1, has_found=True)
        pacing.worked(101.0 + number, has_notified=True, has_taken=True)
        assert pacing.checked(101.001 + number, was_woken=True, has_found=False)
        assert not pacing.pause(101.001 + number, SWEEP_AT).is_deep
