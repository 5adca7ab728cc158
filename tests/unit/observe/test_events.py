"""The flight recorder: what a ring keeps, and how it tells it."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field

from tasuki.contracts.driver import Ack, Nack, Received, Release
from tasuki.observe.events import (
    LIMITED,
    PAUSED,
    RECEIVED,
    SLOTS,
    Event,
    EventRing,
    as_dicts,
    as_lines,
    events_of,
)
from tasuki.testing.clock import EPOCH, FakeClock


@dataclass
class Life:
    """A delivery, as far as the ring reads it."""

    received: Received
    received_at: float = -1.0
    started_at: float = -1.0
    ended_at: float = -1.0


def message(number: int, attempt: int = 1) -> Received:
    return Received(id=f"m{number}", headers={}, body=b"body", receipt=number, attempt=attempt)


@dataclass
class Rig:
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.ring = EventRing(self.clock.monotonic)

    def told(self) -> list[tuple[float, str, str, object]]:
        return [(event.at, event.kind, event.message, event.value) for event in events_of(self.ring)]


def test_the_life_of_a_batch() -> None:
    rig = Rig()
    batch = [message(0), message(1, attempt=2), message(2)]
    rig.clock.advance(3)
    lives = [Life(batch[0], 0.0, 1.0, 1.5), Life(batch[1], 0.0, 1.75, 2.25), Life(batch[2], 0.0)]
    rig.ring.add_settled([Ack(0), Nack(1), Release(2)], lives, {1})
    assert rig.told() == [
        (0.0, "received", "m0", None),
        (0.0, "received", "m1", None),
        (0.0, "received", "m2", None),
        (1.0, "started", "m0", None),
        (1.5, "ended", "m0", 0.5),
        (1.75, "started", "m1", None),
        (2.25, "ended", "m1", 0.5),
        (3.0, "settled", "m0", "ack"),
        (3.0, "settled", "m1", "nack"),
        (3.0, "released", "m2", None),
        (3.0, "stale", "m1", None),
    ]
    assert [event.attempt for event in events_of(rig.ring)][1] == 2


def test_what_runs_now_is_told_too() -> None:
    rig = Rig()
    found = events_of(rig.ring, [Life(message(0), 1.0, 2.0), Life(message(1), 1.0)])
    assert [event.kind for event in found] == ["received", "received", "started"]


def test_a_settlement_without_a_delivery_is_left_out() -> None:
    rig = Rig()
    rig.ring.add_settled([Ack(0), Ack(1)], [None, Life(message(1))], {0})
    assert rig.told() == [(0.0, "settled", "m1", "ack")]


def test_the_oldest_make_room() -> None:
    rig = Rig()
    numbers = range(SLOTS + 10)
    rig.ring.add_settled([Ack(number) for number in numbers], [Life(message(number)) for number in numbers])
    assert len(rig.ring) == SLOTS
    assert events_of(rig.ring)[0].message == "m10"


def test_bodies_are_not_kept() -> None:
    rig, one = Rig(), message(0)
    rig.ring.add_settled([Ack(0)], [Life(one)])
    assert not any(one is part or one.body is part for row in rig.ring.rows() for part in row)


def test_what_comes_again_and_again_stands_there_once() -> None:
    rig = Rig()
    for _ in range(3):
        rig.ring.add_once(LIMITED)
    rig.ring.add(PAUSED, value="until 14:00")
    rig.ring.add_once(LIMITED)
    assert [kind for _, kind, *_ in rig.told()] == ["limited", "paused", "limited"]


def test_an_error_is_its_first_line() -> None:
    rig = Rig()
    rig.ring.add_error(ValueError("no\nmore"), "m1", 3)
    rig.ring.add_error("x" * 1000)
    assert events_of(rig.ring)[0] == Event(0.0, "error", "m1", 3, "no")
    assert len(str(events_of(rig.ring)[1].value)) == 200


def test_an_error_without_a_text_and_one_with_a_secret() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    rig = Rig()
    rig.ring.add_error(Mute())
    rig.ring.add_error(ValueError("cannot log in: password=hunter2"))
    told = [str(event.value) for event in events_of(rig.ring)]
    assert "Mute" in told[0]
    assert "hunter2" not in told[1]


def test_ids_from_outside_forge_no_line_and_fill_no_terminal() -> None:
    rig = Rig()
    for id in ("m1\n0.000 s ago  settled m2", "\x1b[2J", "\ud800", "x" * 1_000_000):
        rig.ring.add(RECEIVED, id, 1, id)
    events = events_of(rig.ring)
    lines = as_lines(events, rig.clock.monotonic())
    document = json.dumps(as_dicts(events, rig.clock), ensure_ascii=False)
    for text in (*lines, document):
        assert text.isprintable(), text[:80]
        assert len(text.encode()) < 4_000


def test_plain_data_and_text() -> None:
    rig = Rig()
    rig.ring.add(RECEIVED, "m1", 2)
    rig.clock.advance(1)
    rig.ring.add("lease renewed", value=3)
    rig.clock.advance(1)
    events = [*events_of(rig.ring), Event(1.5, "ended", "m1", 2, 0.25)]
    assert as_dicts(events, rig.clock) == [
        {"at": EPOCH, "kind": "received", "message": "m1", "attempt": 2, "value": None},
        {"at": EPOCH + 1, "kind": "lease renewed", "message": None, "attempt": None, "value": 3},
        {"at": EPOCH + 1.5, "kind": "ended", "message": "m1", "attempt": 2, "value": 0.25},
    ]
    assert as_lines(events, rig.clock.monotonic()) == [
        "     2.000 s ago  received m1, attempt 2",
        "     1.000 s ago  lease renewed: 3",
        "     0.500 s ago  ended m1, attempt 2: 250.0 ms",
    ]


def test_another_thread_may_add_meanwhile() -> None:
    ring, end = EventRing(), threading.Event()

    def add() -> None:
        while not end.is_set():
            ring.add(LIMITED)

    adding = threading.Thread(target=add)
    adding.start()
    try:
        for _ in range(200):
            events_of(ring)
    finally:
        end.set()
        adding.join()
