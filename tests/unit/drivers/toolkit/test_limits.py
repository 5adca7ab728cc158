"""The rules of limits: what may be handed out, and when the next message may."""

from __future__ import annotations

from math import inf
from sys import maxsize
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasuki.contracts.driver import Limit
from tasuki.contracts.state.store import Grant
from tasuki.drivers.toolkit import limits
from tasuki.drivers.toolkit.limits import NONE, Bucket, changed, given_back, opens_at, room, spent

NOW = 1000.0


@pytest.mark.parametrize(
    ("limit", "tat", "held", "expected"),
    [
        (NONE, -inf, 10**9, maxsize),
        (Limit(concurrency=3), -inf, 1, 2),
        (Limit(concurrency=3), -inf, 3, 0),
        (Limit(concurrency=3), -inf, 5, 0),  # the limit was lowered
        (Limit(0.5, burst=4), -inf, 10, 4),
        (Limit(0.5, burst=4), NOW - 5, 10, 4),
        (Limit(0.5, burst=4), NOW + 2, 10, 3),
        (Limit(0.5, burst=4), NOW + 2.1, 10, 2),
        (Limit(0.5, burst=4), NOW + 8, 10, 0),
        (Limit(0.5, burst=1), NOW + 80, 10, 0),  # so was the burst
        (Limit(0.5, burst=4, concurrency=2), -inf, 1, 1),
    ],
)
def test_there_is_room_for_what_is_not_owed(limit: Limit, tat: float, held: int, expected: int) -> None:
    assert room(limit, tat, NOW, held) == expected


@pytest.mark.parametrize(
    ("limit", "tat", "held", "expected"),
    [
        (NONE, -inf, 9, NOW),
        (Limit(concurrency=3), -inf, 2, NOW),
        (Limit(concurrency=3), -inf, 3, inf),
        (Limit(0.5, burst=4), NOW + 2, 0, NOW),
        (Limit(0.5, burst=4), NOW + 8, 0, NOW + 2),
        (Limit(0.5), NOW + 8, 0, NOW + 8),
        (Limit(0.5, concurrency=1), NOW + 8, 1, inf),
    ],
)
def test_it_opens_when_enough_is_made_up_for(limit: Limit, tat: float, held: int, expected: float) -> None:
    assert opens_at(limit, tat, NOW, held) == expected


def test_it_never_opens_at_once_while_there_is_no_room() -> None:
    """However close: a receive that waits for it would go round without end."""
    limit, now = Limit(1e9, burst=1), 1e9
    tat = spent(limit, -inf, now, 1)
    while not room(limit, tat, now, 0):
        at = opens_at(limit, tat, now, 0)
        assert at > now
        now = at


@pytest.mark.parametrize("rate", [0.001, 0.3, 7.0, 12345.678])
def test_a_message_comes_at_the_time_that_was_said(rate: float) -> None:
    limit, now, tat = Limit(rate, burst=3), 1e6, -inf
    for number in range(100):
        while not room(limit, tat, now, 0):
            now = opens_at(limit, tat, now, 0)
        tat = spent(limit, tat, now, 1)
        assert now >= 1e6 + max(number - 2, 0) / rate - 1e-3 / rate
    assert now == pytest.approx(1e6 + 97 / rate)


def test_a_release_gives_its_part_back() -> None:
    limit = Limit(0.5, burst=2)
    tat = spent(limit, -inf, NOW, 2)
    assert room(limit, given_back(limit, tat), NOW, 0) == 1
    assert room(limit, given_back(limit, -inf), NOW, 0) == 2
    assert (given_back(NONE, -inf), spent(NONE, -inf, NOW, 5), spent(limit, tat, NOW, 0)) == (-inf, -inf, tat)


def test_as_much_is_owed_under_another_rate() -> None:
    slow, fast = Limit(0.5, burst=2), Limit(5.0, burst=2)
    tat = spent(slow, -inf, NOW, 2)
    assert opens_at(fast, changed(slow, fast, tat, NOW), NOW, 0) == pytest.approx(NOW + 0.2)
    back = changed(fast, slow, changed(slow, fast, tat, NOW), NOW)
    assert back == pytest.approx(tat)
    assert room(slow, back, NOW, 0) == 0
    assert changed(slow, fast, NOW - 1, NOW) == NOW - 1, "nothing is owed"
    assert changed(slow, Limit(0.5, burst=9), tat, NOW) == tat
    assert changed(slow, Limit(concurrency=2), tat, NOW) == changed(NONE, slow, tat, NOW) == -inf


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
        grant, bucket = limits.take(limits.at(bucket, now, call.rate, call.burst), call.tokens)
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
        _, bucket = limits.take(limits.at(bucket, now, call.rate, call.burst), call.tokens)
    grant, bucket = limits.take(limits.at(bucket, now, rate, burst), 1)
    if grant.tokens:
        assert grant.wait == 0.0
        return
    assert 0.0 < grant.wait <= 1 / rate
    early, _ = limits.take(limits.at(bucket, now + grant.wait * 0.9, rate, burst), 1)
    assert early.tokens == 0
    late, _ = limits.take(limits.at(bucket, now + grant.wait, rate, burst), 1)
    assert late.tokens == 1


@given(CALLS, some.integers(0, 100), RATES, BURSTS)
def test_tokens_given_never_fill_it_above_the_burst(calls: list[Call], back: int, rate: float, burst: int) -> None:
    bucket, now = None, 1000.0
    for call in calls:
        now += call.wait
        _, bucket = limits.take(limits.at(bucket, now, call.rate, call.burst), call.tokens)
    before = limits.at(bucket, now, rate, burst)
    after = limits.give(before, back)
    assert before.level <= after.level <= min(before.level + back, burst)


def test_time_that_falls_back_takes_and_gives_nothing() -> None:
    assert Bucket(1.0, 100.0, 1.0, 10).now(50.0, 1.0, 10) == Bucket(1.0, 100.0, 1.0, 10, 10)


def test_it_is_as_good_as_new_when_it_is_full() -> None:
    assert Bucket(4.0, 100.0, 2.0, 10).full_at == 103.0
    assert Bucket(10.0, 100.0, 2.0, 10).full_at == 100.0


def test_a_bucket_that_is_full_for_a_small_burst_only_is_kept() -> None:
    """Forgotten, it would be a full one for the next large burst."""
    empty = limits.take(limits.at(None, 100.0, 1.0, 10), 10)[1]
    small = empty.now(101.0, 1.0, 1)
    assert (small.level, small.full_at) == (1.0, 110.0)
    assert small.now(101.0, 1.0, 10).level == 1.0


def test_a_rate_of_0_brings_no_token() -> None:
    bucket = Bucket(0.5, 0.0, 0.0, 1)
    assert limits.take(bucket, 1) == (Grant(0, inf), bucket)
    assert bucket.full_at == inf
    assert bucket._replace(level=1.0).full_at == 0.0
    assert bucket.now(1e9, 0.0, 1).level == 0.5


@pytest.mark.parametrize("tokens", [0, -1])
def test_a_take_of_nothing_gets_nothing_and_need_not_wait(tokens: int) -> None:
    bucket = Bucket(0.0, 0.0, 1.0, 5)
    assert limits.take(bucket, tokens) == (Grant(0, 0.0), bucket)
    assert limits.give(bucket, -tokens) == bucket._replace(level=float(-tokens))
    assert limits.give(bucket, min(tokens, 0)) == bucket


def test_sums_of_thirds_make_a_whole_token() -> None:
    bucket = Bucket(0.0, 0.0, 1 / 3, 5)
    for second in (1.0, 2.0, 3.0):
        bucket = bucket.now(second, 1 / 3, 5)
    assert limits.take(bucket, 1)[0].tokens == 1
