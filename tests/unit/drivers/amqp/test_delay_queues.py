"""The way of a delayed message through the delay queues, followed as the broker would route it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, decode

from tasuki.drivers.amqp.delays import delay_queues
from tasuki.drivers.amqp.delays.delaying import Delaying
from tasuki.drivers.amqp.limits import LONGEST_DELAY, STEP, TIMES
from tests.support.narrow import instance


def arguments_of(time: int) -> dict[str, Any]:
    declared = instance(delay_queues.delay_queue(time, 0)[1], commands.Queue.Declare)
    return instance(declared.arguments, dict)


def link(hop: delay_queues.Hop) -> commands.Exchange.Bind | commands.Queue.Bind:
    made = delay_queues.link(hop, 0)
    return made if isinstance(made, commands.Exchange.Bind) else instance(made, commands.Queue.Bind)


def followed(delay: float) -> tuple[float, int]:
    """Seconds that a message waits, and its hops; it must come out at the last exchange, over one binding a hop."""
    way = delay_queues.way(delay)
    name, keys = decode.field_table(len(way.header).to_bytes(4, "big") + way.header)[1].popitem()
    assert name == "BCC"
    bindings = [link(hop) for hop in way.links()]
    arguments: dict[str, dict[str, Any]] = {}
    for time in way.times:
        arguments[delay_queues.queue_name(time, 0)] = arguments_of(time)
    exchange, waited, hops = delay_queues.entry(0), 0.0, 0
    while exchange != delay_queues.NAME:
        (binding,) = [
            found for found in bindings if _source(found) == exchange and found.routing_key in instance(keys, list)
        ]
        if isinstance(binding, commands.Exchange.Bind):
            exchange = binding.destination
        else:
            there = arguments[binding.queue]
            waited, hops, exchange = waited + there["x-message-ttl"] / 1000, hops + 1, there["x-dead-letter-exchange"]
    return waited, hops


def _source(binding: commands.Exchange.Bind | commands.Queue.Bind) -> str:
    return binding.source if isinstance(binding, commands.Exchange.Bind) else binding.exchange


@given(st.floats(0.001, LONGEST_DELAY))
def test_it_waits_at_least_the_delay_and_less_than_a_second_more(delay: float) -> None:
    waited, _ = followed(delay)
    assert delay - 1e-6 <= waited < delay + (1.0 if delay >= 60 else 0.5 if delay >= 10 else STEP) + 1e-6


@pytest.mark.parametrize(
    ("delay", "hops"), [(STEP, 1), (1.0, 1), (2.0, 1), (5.0, 2), (10.0, 2), (60.0, 1), (3600.0, 1), (86400.0, 1)]
)
def test_common_delays_are_exact_and_take_few_hops(delay: float, hops: int) -> None:
    assert followed(delay) == pytest.approx((delay, hops))


def test_the_broker_can_carry_the_longest_time() -> None:
    waited, _ = followed(LONGEST_DELAY)
    assert waited == pytest.approx(LONGEST_DELAY)
    assert arguments_of(len(TIMES) - 1)["x-message-ttl"] < 2**32


def test_few_messages_stay_in_one_shard_and_a_burst_spreads_over_all() -> None:
    delaying = Delaying()
    assert {delaying.place("q", 100.0).shard for _ in range(100)} == {0}
    burst = Counter(delaying.place("q", 500.0).shard for _ in range(20_000))
    assert len(burst) == delay_queues.SHARDS
    assert max(burst.values()) < 2 * min(burst.values())


def test_the_memory_of_delays_is_bounded() -> None:
    delaying = Delaying()
    for second in range(30_000):
        delaying.place("q", float(second))
    assert len(delaying._due) <= 10_000
