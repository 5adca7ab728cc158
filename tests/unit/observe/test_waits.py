"""From when a message is due until its handler starts."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.contracts.driver import Received
from tasuki.observe.metrics import Waits, published_at
from tasuki.testing.clock import FakeClock

AT = 1_700_000_000.25
V7 = f"{int(AT * 1000) >> 16:08x}-{int(AT * 1000) & 0xFFFF:04x}-7abc-8000-0123456789ab"


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.waits = Waits(self.clock)

    def start(self, after: float, id: str = V7, **headers: Any) -> float:
        """How long a message waited that starts so long after AT."""
        started = self.clock.monotonic() + AT + after - self.clock.time()
        return round(self.waits.of(Received(id, b"", {"timestamp": int(AT), **headers}), started), 3)


def test_an_id_says_when_a_message_was_published() -> None:
    bench = Bench()
    assert bench.start(0.5) == 0.5
    assert bench.start(0.75) == 0.75, "the next one of the same millisecond"


def test_an_id_of_the_publisher_leaves_the_header() -> None:
    assert Bench().start(0.5, id="order 7") == 0.75, "to the second"
    assert published_at(Received("0" * 14 + "7" + "0" * 21, b"", {"timestamp": 5})) == 5
    assert published_at(Received("zzzzzzzz-zzzz-7000-8000-000000000000", b"", {"timestamp": 5})) == 5
    assert published_at(Received("x", b"", {})) == 0


def test_ids_of_a_publisher_that_begin_alike_have_times_of_their_own() -> None:
    bench = Bench()
    assert bench.start(0.5, id="customer-welcome-1") == 0.75
    assert bench.start(60.5, id="customer-welcome-2", timestamp=int(AT) + 60) == 0.75


def test_a_delay_is_no_wait() -> None:
    assert Bench().start(60.5, x_due=AT + 60) == 0.5


def test_a_dead_letter_waits_from_its_death() -> None:
    assert Bench().start(100, x_due=AT + 60, x_dead_letter_time=AT + 98) == 2


def test_a_publisher_whose_clock_is_ahead_counts_as_no_wait() -> None:
    assert Bench().start(-3) == 0


def test_the_wall_clock_is_compared_again() -> None:
    bench = Bench()
    assert bench.start(0.5) == 0.5
    started = bench.clock.monotonic() + 100
    bench.waits.of(Received(V7, b"", {}), started)
    assert bench.waits.wall(started) == pytest.approx(bench.clock.time() + 100)
