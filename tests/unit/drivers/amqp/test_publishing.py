"""How many messages a publisher has delayed, in bounded memory."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tasuki.drivers.amqp.limits import LONGEST_DELAY
from tasuki.drivers.amqp.publishing.publishing import DelayedCount


@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.001, LONGEST_DELAY)), max_size=30), st.floats(0.0, 1e7))
def test_a_message_counts_until_it_is_due_and_hardly_longer(steps: list[tuple[float, float]], after: float) -> None:
    count, now, dues = DelayedCount(), 1000.0, []
    for pause, delay in steps:
        now += pause
        count.add(now, delay)
        dues.append((now + delay, delay))
    now += after
    least = sum(due >= now for due, _ in dues)
    most = sum(due + 1.0 + max(delay / 32, 0.125) >= now for due, delay in dues)
    assert least <= sum(count.after(now).values()) <= most


def test_the_memory_of_many_delayed_messages_is_bounded() -> None:
    count, chance, now = DelayedCount(), random.Random(1), 0.0
    for _ in range(50_000):
        now += chance.expovariate(10.0)
        count.add(now, 10.0 ** chance.uniform(-1.0, 6.8))
        assert len(count._due) <= 2000
    assert sum(count.after(now).values()) > 10_000
    assert count.after(now + LONGEST_DELAY * 2) == {}
    count.add(now + LONGEST_DELAY * 2, 1.0)
    assert len(count._due) == 1, "what is over is forgotten"
