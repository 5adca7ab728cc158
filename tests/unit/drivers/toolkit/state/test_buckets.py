"""Token buckets: the rule that every store keeps."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasuki.contracts.state.store import Grant
from tasuki.drivers.toolkit.state import buckets
from tasuki.drivers.toolkit.state.buckets import Bucket

RATES = some.sampled_from([0.001, 0.1, 0.3, 1.0, 7.0, 50.0, 1000.0])
BURSTS = some.integers(1, 30)


class Call(NamedTuple):
    wait: float
    tokens: int
    rate: float
    burst: int


CALLS = some.lists(
    some.builds(Call, some.sampled_from([0.0, 0.001, 0.1, 1 / 3, 1.0, 60.0]), some.integers(0, 40), RATES, BURSTS),
    min_size=1,
    max_size=40,
)


@given(CALLS)
def test_no_window_gives_more_than_its_burst_and_what_came_meanwhile(calls: list[Call]) -> None:
    """Whatever rates and bursts are in force: each holds from the call that brings it until the next."""
    bucket, now = None, 1000.0
    history: list[tuple[float, int]] = []
    for call in calls:
        now += call.wait
        grant, bucket = buckets.take(buckets.at(bucket, now, call.rate, call.burst), call.tokens)
        assert 0 <= grant.tokens <= call.tokens
        assert 0.0 <= bucket.level <= call.burst
        history.append((now, grant.tokens))
    for first, call in enumerate(calls):
        most = float(call.burst)
        taken = 0
        for number in range(first, len(calls)):
            if number > first:
                most += (history[number][0] - history[number - 1][0]) * calls[number - 1].rate
            taken += history[number][1]
            assert taken <= most + 1e-6


@given(CALLS, RATES, BURSTS)
def test_after_the_wait_a_lone_caller_gets_one_and_not_before(calls: list[Call], rate: float, burst: int) -> None:
    bucket, now = None, 1000.0
    for call in calls:
        now += call.wait
        _, bucket = buckets.take(buckets.at(bucket, now, call.rate, call.burst), call.tokens)
    grant, bucket = buckets.take(buckets.at(bucket, now, rate, burst), 1)
    if grant.tokens:
        assert grant.wait == 0.0
        return
    assert 0.0 < grant.wait <= 1 / rate
    early, _ = buckets.take(buckets.at(bucket, now + grant.wait * 0.9, rate, burst), 1)
    assert early.tokens == 0
    late, _ = buckets.take(buckets.at(bucket, now + grant.wait, rate, burst), 1)
    assert late.tokens == 1


@given(CALLS, some.integers(0, 100), RATES, BURSTS)
def test_tokens_given_never_fill_it_above_the_burst(calls: list[Call], back: int, rate: float, burst: int) -> None:
    bucket, now = None, 1000.0
    for call in calls:
        now += call.wait
        _, bucket = buckets.take(buckets.at(bucket, now, call.rate, call.burst), call.tokens)
    before = buckets.at(bucket, now, rate, burst)
    after = buckets.give(before, back)
    assert before.level <= after.level <= min(before.level + back, burst)


def test_time_that_falls_back_takes_and_gives_nothing() -> None:
    assert Bucket(1.0, 100.0, 1.0, 10).now(50.0, 1.0, 10) == Bucket(1.0, 100.0, 1.0, 10, 10)


def test_it_is_as_good_as_new_when_it_is_full() -> None:
    assert Bucket(4.0, 100.0, 2.0, 10).full_at == 103.0
    assert Bucket(10.0, 100.0, 2.0, 10).full_at == 100.0


def test_a_bucket_that_is_full_for_a_small_burst_only_is_kept() -> None:
    """Forgotten, it would be a full one for the next large burst."""
    empty = buckets.take(buckets.at(None, 100.0, 1.0, 10), 10)[1]
    small = empty.now(101.0, 1.0, 1)
    assert (small.level, small.full_at) == (1.0, 110.0)
    assert small.now(101.0, 1.0, 10).level == 1.0


def test_a_rate_of_0_brings_no_token() -> None:
    bucket = Bucket(0.5, 0.0, 0.0, 1)
    assert buckets.take(bucket, 1) == (Grant(0, inf), bucket)
    assert bucket.full_at == inf
    assert bucket._replace(level=1.0).full_at == 0.0
    assert bucket.now(1e9, 0.0, 1).level == 0.5


@pytest.mark.parametrize("tokens", [0, -1])
def test_a_take_of_nothing_gets_nothing_and_need_not_wait(tokens: int) -> None:
    bucket = Bucket(0.0, 0.0, 1.0, 5)
    assert buckets.take(bucket, tokens) == (Grant(0, 0.0), bucket)
    assert buckets.give(bucket, -tokens) == bucket._replace(level=float(-tokens))
    assert buckets.give(bucket, min(tokens, 0)) == bucket


def test_sums_of_thirds_make_a_whole_token() -> None:
    bucket = Bucket(0.0, 0.0, 1 / 3, 5)
    for second in (1.0, 2.0, 3.0):
        bucket = bucket.now(second, 1 / 3, 5)
    assert buckets.take(bucket, 1)[0].tokens == 1
