"""The way of a delayed message down the ladder, followed as the broker would route it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.drivers.amqp import ladder
from tasuki.drivers.amqp.limits import LONGEST_DELAY, RUNGS, STEP


def matches(pattern: str, key: str) -> bool:
    """Topic matching: ``*`` is one word, ``#`` any number of words at the end."""
    text = re.escape(pattern).replace(r"\*", r"[^.]*").replace(r"\.\#", r"(\..*)?")
    return re.fullmatch(text, key) is not None


def climb_down(delay: float, queue: str, queues: list[str]) -> tuple[float, list[str]]:
    """Seconds that a message waits, and where it comes out."""
    exchange, key, _ = ladder.entry(delay, queue)
    waited = 0.0
    while exchange != ladder.NAME:
        number = int(exchange.rpartition(".")[2])
        declared, rung, wait, skip = ladder.rung(number)
        assert declared.exchange == exchange
        below = rung.arguments["x-dead-letter-exchange"]
        waits, skips = matches(wait.routing_key, key), matches(skip.routing_key, key)
        assert waits != skips
        assert skip.destination == below
        waited += rung.arguments["x-message-ttl"] / 1000 * waits
        exchange = below
    return waited, [name for name in queues if matches(ladder.foot_binding(name).routing_key, key)]


@given(st.floats(0.001, LONGEST_DELAY))
def test_it_waits_at_least_the_delay_and_less_than_a_second_more(delay):
    waited, arrived = climb_down(delay, "q", ["q"])
    assert delay - 1e-6 <= waited < delay + 1.0
    assert arrived == ["q"]


@pytest.mark.parametrize("delay", [STEP, 1.0, 59.9, 60.0, 3600.0, LONGEST_DELAY])
def test_round_delays_are_kept(delay):
    waited, _ = climb_down(delay, "q", ["q"])
    assert waited == pytest.approx(delay, abs=0.8)


def test_names_that_end_alike_are_told_apart():
    queues = ["a", "b.a", "c.b.a", "app:b.a"]
    for name in queues:
        assert climb_down(0.7, name, queues)[1] == [name]


def test_the_broker_can_carry_the_highest_rung_and_the_longest_name():
    assert ladder.rung(RUNGS - 1)[1].arguments["x-message-ttl"] < 2**32
    assert len(ladder.entry(LONGEST_DELAY, "x" * 190)[1]) <= 255
