import random
from collections import Counter

import pytest

from tasuki.backoff import UNTIL_BACK, Backoff, is_told, pause_after
from tasuki.errors import BrokerUnavailableError, QueueFullError, StorageFullError, StoreFullError


def test_it_really_grows_to_its_cap() -> None:
    backoff = Backoff(jitter=0)
    assert [backoff.delay(number) for number in range(1, 10)] == [1, 2, 4, 8, 16, 32, 64, 90, 90]


def test_no_failure_counts_as_one() -> None:
    assert Backoff(jitter=0).delay(0) == Backoff(jitter=0).delay(1) == 1


def test_a_factor_of_one_is_steady() -> None:
    assert {Backoff(3, backoff_factor=1, jitter=0).delay(number) for number in range(1, 50)} == {3}


def test_so_many_failures_that_numbers_end() -> None:
    assert Backoff(jitter=0).delay(10**6) == 90


def test_jitter_stays_within_its_share_and_below_the_cap() -> None:
    source = random.Random(1)
    delays = [Backoff(jitter=0.1).delay(3, source) for _ in range(1000)]
    assert 3.6 <= min(delays) < 3.7
    assert 4.3 < max(delays) <= 4.4
    longest = [Backoff(jitter=0.5).delay(99, source) for _ in range(1000)]
    assert 89 < max(longest) <= 90
    assert 30 <= min(longest) < 31, "the longest delays are jittered too"


def test_a_broker_is_never_away_for_long_after_its_return() -> None:
    assert max(UNTIL_BACK.delay(failures) for failures in range(1, 1000)) <= 2.0


@pytest.mark.parametrize("outage", [0.5, 3.0, 60.0])
def test_workers_that_lost_their_broker_at_one_moment_do_not_come_back_at_one_moment(outage: float) -> None:
    source, workers = random.Random(7), 2000
    returns: list[float] = []
    for _ in range(workers):
        at, failures = 0.0, 0
        while at < outage:
            failures += 1
            at += UNTIL_BACK.delay(failures, source)
        returns.append(at - outage)
    assert max(returns) <= 2.0
    busiest = max(Counter(int(at / 0.1) for at in returns).values())
    assert busiest <= workers * 0.4, "in a tenth of a second"


def test_of_many_failures_in_a_row_few_are_told() -> None:
    assert [failures for failures in range(1, 70) if is_told(failures)] == [1, 4, 20, 40, 60]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_source_of_chance_can_be_given(seed: int) -> None:
    assert Backoff().delay(3, random.Random(seed)) == Backoff().delay(3, random.Random(seed))


def test_without_one_it_differs() -> None:
    assert len({Backoff().delay(3) for _ in range(100)}) > 1


def test_one_rule_says_how_long_to_wait_for_a_broker_or_store() -> None:
    many = range(20, 200)
    for error in (BrokerUnavailableError(""), StoreFullError(""), StorageFullError(""), KeyError()):
        assert 1 < max(pause_after(error, failures) for failures in many) <= 2
    assert 20 < max(pause_after(QueueFullError(""), failures) for failures in many) <= 30
    assert 20 < max(pause_after(BrokerUnavailableError(""), failures, is_final=True) for failures in many) <= 30
    assert pause_after(QueueFullError(""), 1) < 0.1
