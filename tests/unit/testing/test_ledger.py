"""What a test has at its brokers, by what its drivers have done."""

from __future__ import annotations

from tasuki.contracts.driver import Ack, Move, Nack, Outgoing, Received, Release, Settlement
from tasuki.message import DEAD_LETTER_REASON, HeaderValue
from tasuki.testing.clock import FakeClock
from tasuki.testing.real.ledger import Ledger
from tasuki.testing.twin.reading.journal import Journal

REJECTED: dict[str, HeaderValue] = {DEAD_LETTER_REASON: "rejected"}
JOBS, DEAD = ("app:driver", "jobs"), ("app:driver", "dead")


def outgoing(id: str, delay: float = 0.0, headers: dict[str, HeaderValue] | None = None) -> Outgoing:
    return Outgoing(id, b"1", headers or {}, delay=delay)


def received(id: str, attempt: int = 1) -> Received:
    return Received(id, b"1", {}, receipt=f"{id}/{attempt}", attempt=attempt)


class Book:
    """A ledger with a clock that stands still."""

    def __init__(self) -> None:
        self.clock, self.journal = FakeClock(), Journal()
        self.ledger = Ledger(self.clock, self.journal)

    def waiting(self) -> list[str]:
        return [slot.id for slot in self.ledger.waiting(JOBS)]

    @property
    def outcomes(self) -> list[str]:
        return [outcome for *_, outcome in self.journal.settled]


def test_due_messages_come_first_and_then_the_others_by_their_times() -> None:
    book = Book()
    book.ledger.stored(JOBS, [outgoing("late", 60), outgoing("soon", 5), outgoing("now")])
    assert book.waiting() == ["now", "soon", "late"]
    book.ledger.received(JOBS, [received("now")])
    assert (book.waiting(), book.ledger.held(JOBS), book.journal.steps) == (["soon", "late"], ["now"], 1)
    book.ledger.forget(JOBS)
    assert (book.waiting(), book.ledger.held(JOBS)) == ([], [])


def test_each_settlement_is_an_outcome_and_says_what_waits_then() -> None:
    book = Book()
    book.ledger.stored(JOBS, [outgoing(id) for id in ("ack", "nack", "release", "snooze", "stale")])
    book.ledger.received(JOBS, [received(id) for id in ("ack", "nack", "release", "snooze", "stale", "unknown")])
    batch: list[Settlement] = [
        Ack("ack/1"),
        Nack("nack/1", 5, "why"),
        Release("release/1"),
        Release("snooze/1", 60),
        Ack("stale/1"),
        Ack("elsewhere"),
    ]
    book.ledger.settled(JOBS, batch, ["stale/1"])
    assert book.outcomes == ["ack", "nack", "release", "snooze"]
    assert book.ledger.held(JOBS) == ["unknown"]
    assert book.waiting() == ["release", "stale", "nack", "snooze"]
    nacked = book.ledger.waiting(JOBS)[2]
    assert nacked.failure is not None
    assert (nacked.failures, nacked.failure[0], nacked.due - book.clock.monotonic()) == (1, "why", 5)


def test_a_redelivery_says_how_often_it_has_failed() -> None:
    book = Book()
    book.ledger.received(JOBS, [received("old", 3)])
    book.ledger.settled(JOBS, [Release("old/3")], ())
    assert [slot.failures for slot in book.ledger.waiting(JOBS)] == [2]


def test_a_delivery_that_was_lost_is_held_no_longer_when_its_message_comes_again() -> None:
    book = Book()
    book.ledger.received(JOBS, [received("old", 1)])
    book.ledger.received(JOBS, [received("old", 2)])
    assert book.ledger.held(JOBS) == ["old"]
    book.ledger.settled(JOBS, [Ack("old/1"), Ack("old/2")], ())
    assert (book.ledger.held(JOBS), book.outcomes) == ([], ["ack"])


def test_an_ack_after_a_dead_letter_is_one_for_both_ways_of_handing_over() -> None:
    book = Book()
    book.ledger.stored(JOBS, [outgoing("one"), outgoing("two"), outgoing("three")])
    book.ledger.received(JOBS, [received("one"), received("two"), received("three")])
    book.ledger.stored(DEAD, [outgoing("one", headers=REJECTED)])
    book.ledger.settled(JOBS, [Ack("one/1")], ())
    book.ledger.moved(JOBS, [Move("two/1", "dead", (outgoing("two", headers=REJECTED),))])
    book.ledger.moved(JOBS, [Move("three/1", "replies", (outgoing("reply"),))])
    assert book.outcomes == ["dead_letter", "dead_letter", "ack"]
    assert [slot.id for slot in book.ledger.waiting(DEAD)] == ["one", "two"]
    assert book.waiting() == []
