"""The rules of limits: what may be handed out, and when the next message may."""

from __future__ import annotations

from math import inf
from sys import maxsize

import pytest

from tasuki.contracts.driver import Limit
from tasuki.drivers.toolkit.limits import NONE, changed, given_back, opens_at, room, spent

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
