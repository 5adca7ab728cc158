import pytest

from tasuki.backoff import Backoff
from tasuki.consumers.settling.verdict import ACK, RetryPolicy

STEADY = Backoff(initial_delay=1, max_delay=8, backoff_factor=2, jitter=0)


def policy(*, dead: bool = True, max_attempts: int = 3, drops: bool = False) -> RetryPolicy:
    return RetryPolicy(STEADY, max_attempts, dead, drops)


@pytest.mark.parametrize(("attempt", "delay"), [(1, 1), (2, 2)])
def test_a_failure_is_tried_again_later_each_time(attempt: int, delay: float) -> None:
    verdict = policy().failed(attempt, "boom")
    assert (verdict.action, verdict.delay, verdict.error, verdict.kept) == ("nack", delay, "boom", False)


def test_the_last_attempt_ends_in_the_dead_letter_queue() -> None:
    verdict = policy().failed(3, "boom")
    assert (verdict.action, verdict.reason, verdict.error) == ("dead_letter", "max_attempts", "boom")


def test_a_wanted_delay_does_not_save_the_last_attempt() -> None:
    assert policy().failed(3, "boom", 5.0).action == "dead_letter"
    assert policy().failed(2, "boom", 5.0).delay == 5.0
    assert policy().failed(1, "boom", 0.0).delay == 0.0


def test_without_a_dead_letter_queue_it_is_tried_for_ever() -> None:
    verdict = policy(dead=False).failed(100, "boom")
    assert (verdict.action, verdict.delay) == ("nack", 8)


@pytest.mark.parametrize(("attempt", "exhausted"), [(1, False), (3, False), (4, True)])
def test_only_attempts_beyond_the_last_must_not_start(attempt: int, exhausted: bool) -> None:
    assert policy().exhausted(attempt) is exhausted
    assert policy(dead=False).exhausted(attempt) is False


@pytest.mark.parametrize("reason", ["rejected", "expired", "undecodable", "invalid"])
def test_rejected_goes_to_the_dead_letter_queue_at_once(reason: str) -> None:
    verdict = policy(drops=True).rejected(reason, "no")  # type: ignore[arg-type]
    assert (verdict.action, verdict.reason, verdict.error) == ("dead_letter", reason, "no")


def test_rejected_without_one_is_kept_with_the_longest_delay() -> None:
    verdict = policy(dead=False).rejected("rejected", "no")
    assert (verdict.action, verdict.delay, verdict.kept, verdict.reason) == ("nack", 8, True, "rejected")


def test_expired_without_one_is_dropped_only_where_the_queue_says_so() -> None:
    assert policy(dead=False, drops=True).rejected("expired", "") is ACK
    assert policy(dead=False, drops=False).rejected("expired", "").kept
    assert policy(dead=False, drops=True).rejected("invalid", "").kept


def test_an_error_is_made_to_fit() -> None:
    assert len(policy().rejected("rejected", "x" * 10_000).error) == 4096
    assert len(policy().failed(3, "x" * 10_000).error) == 4096
    assert policy().rejected("rejected", "file \udcff").error == "file ?"
