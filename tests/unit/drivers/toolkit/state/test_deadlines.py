"""Deadlines: at most one for each key, and none is forgotten."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from tasuki.drivers.toolkit.state.watching import Deadlines

STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.floats(0, 10)), max_size=300)


@given(STEPS, st.floats(0, 10))
def test_the_last_word_on_each_key_counts(steps: list[tuple[str, float | None]], now: float) -> None:
    deadlines, expected = Deadlines(), dict(steps)
    for key, at in steps:
        deadlines.set(key, at)
    there = {key: at for key, at in expected.items() if at is not None}
    assert {key: deadlines.at(key) for key in "abc" if deadlines.at(key) is not None} == there
    assert deadlines.next == min(there.values(), default=inf)
    due = {key for key, at in there.items() if at <= now}
    assert set(deadlines.due(now)) == due
    assert len(deadlines) == len(there) - len(due)
    assert deadlines.due(now) == []


def test_a_key_that_is_renewed_forever_takes_no_room() -> None:
    deadlines = Deadlines()
    for at in range(100_000):
        deadlines.set("key", float(at))
    assert len(deadlines._heap) < 100
