import random

import pytest

from tasuki.backoff import Backoff


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
    assert max(Backoff(jitter=0.5).delay(99, source) for _ in range(1000)) == 90


@pytest.mark.parametrize("seed", [1, 2])
def test_the_source_of_chance_can_be_given(seed: int) -> None:
    assert Backoff().delay(3, random.Random(seed)) == Backoff().delay(3, random.Random(seed))


def test_without_one_it_differs() -> None:
    assert len({Backoff().delay(3) for _ in range(100)}) > 1
