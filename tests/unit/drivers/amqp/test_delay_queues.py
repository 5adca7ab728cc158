"""The way of a delayed message through the delay queues, followed as the broker would route it."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, decode

from tasuki.contracts.driver import Outgoing
from tasuki.drivers.amqp.limits import LONGEST_DELAY, STEP, TIMES
from tasuki.drivers.amqp.protocol.envelope import encode
from tasuki.drivers.amqp.protocol.frames import priority_of
from tasuki.drivers.amqp.publishing import delay_queues
from tasuki.drivers.amqp.publishing.delay_queues import Delaying
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
    header = delay_queues.header(way.times)
    name, keys = decode.field_table(len(header).to_bytes(4, "big") + header)[1].popitem()
    assert name == "BCC"
    bindings = [link(hop) for hop in delay_queues.hops(way.times)]
    arguments: dict[str, dict[str, Any]] = {}
    for time in way.times:
        arguments[delay_queues.queue_name(time, 0)] = arguments_of(time)
    exchange, waited, hops, own = delay_queues.entry(0), 0.0, 0, float(way.wait)
    while exchange != delay_queues.NAME:
        (binding,) = [
            found for found in bindings if _source(found) == exchange and found.routing_key in instance(keys, list)
        ]
        if isinstance(binding, commands.Exchange.Bind):
            exchange = binding.destination
        else:
            there = arguments[binding.queue]
            waited, hops = waited + min(there["x-message-ttl"], own) / 1000, hops + 1
            exchange, own = there["x-dead-letter-exchange"], math.inf  # the broker drops a time to live with the hop
    return waited, hops


def _source(binding: commands.Exchange.Bind | commands.Queue.Bind) -> str:
    return binding.source if isinstance(binding, commands.Exchange.Bind) else binding.exchange


@given(st.floats(0.001, LONGEST_DELAY))
def test_it_waits_at_least_the_delay_and_less_than_a_second_more(delay: float) -> None:
    waited, _ = followed(delay)
    assert delay - 1e-6 <= waited < delay + (1.0 if delay >= 60 else 0.001) + 1e-6


@given(st.floats(0.001, 60.0))
def test_up_to_a_minute_it_makes_one_hop_and_waits_at_most_a_second_for_those_before_it(delay: float) -> None:
    assert followed(delay)[1] == 1
    way = delay_queues.way(delay)
    (time,) = way.times
    shortest = TIMES[time - 1] * STEP if time else 0.0
    assert shortest * 1000 < way.wait <= TIMES[time] * STEP * 1000 + 1e-6
    assert TIMES[time] * STEP - shortest <= max(min(delay / 4, 1.0), STEP) + 1e-6


@pytest.mark.parametrize(
    ("delay", "hops"),
    [
        (STEP, 1),
        (1.0, 1),
        (4.9, 1),
        (10.0, 1),
        (37.7, 1),
        (60.0, 1),
        (97.7, 2),
        (3600.0, 1),
        (3599.98, 1),
        (86400.0, 1),
    ],
)
def test_common_delays_take_few_hops(delay: float, hops: int) -> None:
    assert followed(delay) == pytest.approx((math.ceil(delay) if delay > 60 else delay, hops))


def test_no_binding_of_a_hop_is_one_that_an_older_version_made_elsewhere() -> None:
    keys = [link(hop).routing_key for hop in delay_queues.hops((0, 5, len(TIMES) - 1))]
    assert keys == [
        "tasuki.delayed:>100ms", "tasuki.delayed:100ms>600ms", "tasuki.delayed:600ms>2764800s",
        "tasuki.delayed:2764800s>",
    ]  # fmt: skip


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


@pytest.mark.parametrize("priority", [0, 1, 4, 5, 9])
def test_messages_of_high_priority_lie_in_queues_without_others(priority: int) -> None:
    delaying = Delaying()
    properties = encode(Outgoing("a", b"", {}, 30.0, priority, None))
    shards = {delaying.place("q", 30.0, priority_of(properties)).shard for _ in range(20_000)}
    first = delay_queues.SHARDS if priority > 4 else 0
    assert shards == set(range(first, first + delay_queues.SHARDS))


def test_the_memory_of_delays_is_bounded() -> None:
    delaying = Delaying()
    for second in range(30_000):
        delaying.place("q", float(second))
    assert len(delaying._due) <= 10_000
