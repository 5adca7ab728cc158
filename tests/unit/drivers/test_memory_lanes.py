"""The lanes of the memory driver: turns over long times, and what they leave behind."""

from __future__ import annotations

import random
from collections import Counter
from math import inf

import pytest

from tasuki.contracts.driver import Limit
from tasuki.drivers.memory.lanes import Lanes
from tasuki.drivers.memory.slots import Slot


class Queue:
    """Lanes with messages whose bodies name their lanes."""

    def __init__(self, limit: Limit | None = None, fair: int = 1) -> None:
        self.lanes = Lanes(limit, fair)
        self.number = 0

    def put(self, name: str, times: int = 1, priority: int = 0) -> None:
        for _ in range(times):
            self.number += 1
            self.lanes.put(name, Slot(f"{self.number}", name.encode(), {}, self.number, float(self.number), priority))

    def take(self, limit: int = 1, now: float = 0.0) -> str:
        return "".join(slot.body.decode() for slot in self.lanes.take(limit, now))


@pytest.mark.parametrize("fair", [1, 3])
@pytest.mark.parametrize("seed", range(10))
def test_no_lane_waits_for_more_than_two_rounds(fair: int, seed: int) -> None:
    """Whatever comes, and in whatever order: lanes of one message, and some that have many."""
    numbers = random.Random(seed)
    queue = Queue(fair=fair)
    queue.put("m", 2000)
    since, most = 0, 2 * fair
    for step in range(1000):
        for _ in range(numbers.choice((0, 0, 1, 1, 2, 3))):
            queue.put(numbers.choice((f"new {step}-", "a", "b", "z")), numbers.choice((1, 1, 4)))
        for name in (slot.body.decode() for slot in queue.lanes.take(numbers.randint(1, 3), 0.0)):
            since = 0 if name == "m" else since + 1
            if name == "m":
                most = 2 * fair * len(queue.lanes)
            assert since <= most, f"{since} others came before it, of {len(queue.lanes)} lanes"


def test_turns_are_kept_when_all_are_put_in_order_anew() -> None:
    queue = Queue()
    queue.put("a", 5)
    queue.put("b", 5)
    assert queue.take(4) == "abab"
    queue.lanes.clear("abab")
    queue.put("b", 3)
    queue.put("a", 3)
    queue.lanes.stir()
    assert queue.take() == "a"


def test_a_lane_with_nothing_to_make_up_for_goes_at_once() -> None:
    queue = Queue(Limit(concurrency=2))
    queue.put("a", 2)
    assert queue.take(5) == "aa"
    queue.lanes.freed("a")
    assert len(queue.lanes) == 1
    queue.lanes.freed("a")
    assert len(queue.lanes) == 0


def test_a_lane_goes_when_all_is_made_up_for() -> None:
    queue = Queue(Limit(0.5, burst=2))
    queue.put("a", 2)
    assert queue.take(5) == "aa"
    for _ in range(2):
        queue.lanes.freed("a")
    assert queue.lanes.next_at(0.0) == inf
    assert (queue.take(now=3.9), len(queue.lanes)) == ("", 1)
    assert (queue.take(now=4.0), len(queue.lanes)) == ("", 0)


def test_a_lane_that_came_back_meanwhile_stays() -> None:
    queue = Queue(Limit(0.5, burst=2))
    queue.put("a", 2)
    queue.take(5)
    for _ in range(2):
        queue.lanes.freed("a")
    queue.put("a", 2)
    assert queue.take(5) == ""
    assert queue.lanes.next_at(0.0) == 2.0
    assert queue.take(5, now=2.0) == "a"
    assert (queue.take(5, now=4.0), len(queue.lanes)) == ("a", 1)


def test_an_older_time_of_a_lane_means_nothing() -> None:
    queue = Queue(Limit(0.5))
    queue.put("a", 3)
    assert queue.take() == "a"
    assert queue.lanes.next_at(0.0) == 2.0
    queue.lanes.give_back("a")
    queue.lanes.freed("a")
    assert queue.lanes.next_at(0.0) == 0.0
    assert queue.take() == "a"
    queue.lanes.change(Limit(0.25), 1, 0.0)
    assert queue.lanes.next_at(0.0) == 4.0
    queue.lanes.change(None, 1, 0.0)
    assert queue.take() == "a"


def test_of_two_times_of_a_lane_the_last_one_holds() -> None:
    queue = Queue(Limit(0.5))
    queue.put("a", 5)
    assert queue.take() == "a"
    queue.lanes.give_back("a")
    queue.lanes.freed("a")
    assert queue.take(now=1.0) == "a"
    assert queue.lanes.next_at(1.0) == 3.0
    queue.lanes.give_back("a")
    queue.lanes.freed("a")
    assert queue.take(now=1.5) == "a"
    assert queue.take(now=3.2) == ""
    assert queue.take(now=3.5) == "a"


def test_a_full_lane_waits_for_no_time() -> None:
    queue = Queue(Limit(concurrency=2))
    queue.put("a", 3)
    assert queue.take(5) == "aa"
    assert queue.lanes.next_at(0.0) == inf
    queue.lanes.freed("a")
    assert queue.lanes.next_at(0.0) == 0.0


def test_a_long_lane_that_rests_costs_nothing() -> None:
    queue = Queue(Limit(0.001))
    queue.put("a", 100_000)
    assert queue.take() == "a"
    looked: Counter[str] = Counter()
    has_room = queue.lanes._has_room

    def count(lane: object, now: float) -> bool:
        looked["lanes"] += 1
        return has_room(lane, now)  # type: ignore[arg-type]

    queue.lanes._has_room = count  # type: ignore[method-assign]
    for _ in range(100):
        queue.put("b")
        assert queue.take() in {"b", ""}
    assert looked["lanes"] <= 200


def test_the_oldest_and_the_order_of_what_waits_are_shown() -> None:
    queue = Queue()
    assert queue.lanes.oldest() is None
    queue.put("a", 2)
    queue.put("a", 1, priority=9)
    queue.put("b", 1)
    assert queue.lanes.oldest() == 1.0
    assert [slot.id for slot in queue.lanes] == ["3", "1", "2", "4"]
    assert len(list(queue.lanes.ranks())) == 3
