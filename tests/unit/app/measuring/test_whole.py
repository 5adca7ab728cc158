"""The depth of a queue whose broker does not tell all of it."""

from __future__ import annotations

from tasuki.app.measuring.whole import Delays, Notes, Purge, Told, encode, key_by, key_of_purge, whole
from tasuki.contracts.driver import Depth, Kept
from tasuki.state.worker_record import Presence, PresentConsumer, Unlisted

UNTOLD = Depth(5, None, None)


def worker(*held: int, queue: str = "q", driver: str = "d", hidden: int = 0) -> Presence:
    consumers = [PresentConsumer(f"c{number}", queue, driver, 1, held=count) for number, count in enumerate(held)]
    return Presence("host", 1, "1", 0.0, 0.0, consumers, unlisted=Unlisted(consumers=hidden))


def depth(told: Told | None, kept: Kept | None = None, own: tuple[Delays, ...] = (), of: Depth = UNTOLD) -> Depth:
    return whole(of, kept or Kept(), own, told, driver="d", queue="q")


def delayed(*notes: Delays, purges: tuple[Purge, ...] = (), now: float = 100.0) -> int | None:
    return depth(Told(delays=notes, purges=purges, now=now)).delayed


def test_a_broker_that_counts_is_believed() -> None:
    of = Depth(1, 2, 3)
    assert depth(Told([worker(9)]), of=of) is of


def test_without_a_state_the_numbers_are_unknown() -> None:
    assert depth(None, Kept(3, 1)) is UNTOLD


def test_held_messages_are_the_sum_over_all_processes() -> None:
    told = Told([worker(3, 0), worker(4), worker(8, queue="other"), worker(9, driver="other")])
    assert depth(told) == Depth(5, 7, 0, is_estimate=True)


def test_what_waits_in_the_memory_of_this_process_is_in_flight_once() -> None:
    assert depth(Told([worker(4)]), Kept(held=3, unused=2)) == Depth(3, 7, 0, is_estimate=True)


def test_an_entry_without_room_for_all_consumers_makes_held_messages_unknown() -> None:
    assert depth(Told([worker(4, hidden=1)]), Kept(3, 2)) == Depth(5, None, 0, is_estimate=True)


def test_a_broker_may_count_one_of_both() -> None:
    assert depth(Told([worker(4)], now=1.0), of=Depth(5, 2, None)) == Depth(5, 2, 0, is_estimate=True)
    assert depth(Told([worker(4)], now=1.0), of=Depth(5, None, 3)) == Depth(5, 4, 3, is_estimate=True)


def test_delays_are_the_sum_of_those_that_are_not_over() -> None:
    mine = Delays("d", "q", 90.0, [(99.0, 7), (101.0, 2)])
    assert depth(Told(delays=[Delays("d", "q", 1.0, [(200.0, 3)])], now=100.0), own=(mine,)).delayed == 5
    assert delayed(Delays("d", "other", 1.0, [(200.0, 3)]), Delays("other", "q", 1.0, [(200.0, 3)])) == 0


def test_a_purge_makes_older_notes_worth_nothing_until_their_delays_are_over() -> None:
    before, after = Delays("d", "q", 40.0, [(200.0, 3)]), Delays("d", "q", 60.0, [(200.0, 2)])
    purges = (Purge("d", "q", 30.0), Purge("d", "q", 50.0), Purge("d", "other", 70.0))
    assert delayed(after, purges=purges) == 2
    assert delayed(before, after, purges=purges) is None
    assert delayed(before, after, purges=purges, now=201.0) == 0


def test_entries_are_read_as_they_were_written() -> None:
    notes, mine = Notes(), Delays("d", "q", 1.0, [(2.5, 3)])
    notes.add(key_by("here"), encode([mine]), but="here")
    notes.add(key_by("there"), encode([mine, Delays("d", "r", 1.0, [])]), but="here")
    notes.add(key_of_purge("d", "q"), encode(Purge("d", "q", 5.0)))
    notes.add(key_by("newer"), b'{"another": "layout"}')
    notes.add(key_by("broken"), b"\xff")
    assert notes.delays == [mine, Delays("d", "r", 1.0, [])]
    assert notes.purges == [Purge("d", "q", 5.0)]
