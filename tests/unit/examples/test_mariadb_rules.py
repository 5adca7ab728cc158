"""Rules of queues in tables: room and duplicates, the front of each key, what ends, what fits together."""

from __future__ import annotations

from math import inf

import pytest

from tasuki.contracts.driver import Ack, Move, Nack, Outgoing, Release, Settlement
from tasuki.drivers.toolkit.results import FULL, STALE
from tasuki_mariadb import rules


def message(id: str, *, deduplicate: bool = True) -> Outgoing:
    return Outgoing(id, b"", {}, 0.0, 0, None, deduplicate)


def test_without_a_window_equal_ids_are_two_messages() -> None:
    batch = [message("a"), message("a")]
    assert rules.choose(batch, None, inf) == (batch, 2)


def test_a_known_id_needs_no_room_and_the_first_without_room_ends_a_batch() -> None:
    batch = [message("known"), message("a"), message("a"), message("b"), message("known")]
    known = {"known"}
    assert rules.choose(batch, known, 1) == ([batch[1]], 3)
    assert known == {"known", "a"}


def test_a_forced_message_is_stored_and_not_remembered() -> None:
    forced = message("known", deduplicate=False)
    known = {"known"}
    assert rules.choose([forced, message("new")], known, inf)[0] == [forced, message("new")]
    assert known == {"known", "new"}
    assert rules.choose([message("b", deduplicate=False), message("b")], seen := set[str](), inf)[1] == 2
    assert seen == {"b"}


def moves(*batches: str) -> list[Move]:
    return [Move(number, "to", tuple(map(message, batch))) for number, batch in enumerate(batches)]


def test_moves_are_done_whole_or_not_at_all() -> None:
    moved = rules.move(moves("ab", "cde", "f"), {0, 1, 2}, None, 4, is_same=False)
    assert moved.outcomes == [0, FULL, 0]
    assert moved.ended == [0, 2]
    assert [each.id for each in moved.stored] == ["a", "b", "f"]


def test_a_stale_move_stores_nothing_and_takes_no_room() -> None:
    moved = rules.move(moves("a", "b"), {1}, None, 1, is_same=False)
    assert (moved.outcomes, moved.ended) == ([STALE, 0], [1])
    assert [each.id for each in moved.stored] == ["b"]


def test_a_move_within_a_queue_makes_room_for_its_message() -> None:
    assert rules.move(moves("a", "b"), {0, 1}, None, 0, is_same=True).outcomes == [0, 0]
    assert rules.move(moves("ab"), {0}, None, 0, is_same=True).outcomes == [FULL]
    assert rules.move(moves("", "ab"), {0, 1}, None, 0, is_same=True).outcomes == [0, 0]


def test_ids_of_a_move_that_found_no_room_are_not_remembered() -> None:
    moved = rules.move(moves("ab", "a", "a"), {0, 1, 2}, set(), 1, is_same=False)
    assert moved.outcomes == [FULL, 0, 0]
    assert [each.id for each in moved.stored] == ["a"]


def test_the_first_of_two_settlements_counts() -> None:
    batch: list[Settlement] = [Ack(1), Nack(2, 1.5), Release(1), Release(3), Nack(4, 1.5), Ack(9), Nack(2)]
    settled = rules.settle(batch, {1, 2, 3, 4})
    assert settled.done == [1]
    assert settled.back == {(True, 1.5): [2, 4], (False, 0.0): [3]}
    assert settled.stale == [1, 9, 2]


@pytest.mark.parametrize(
    ("found", "heads", "expected"),
    [
        ([(1, b"k", False)], {b"k": 1}, ([], [])),
        ([], {b"k": 2}, ([], [2])),
        ([(1, b"k", False), (2, b"k", False)], {b"k": 1}, ([2], [])),
        ([(1, b"k", True), (2, b"k", False)], {b"k": 1}, ([2], [])),
        ([(2, b"k", True), (1, b"k", False)], {b"k": 1}, ([1], [])),
        ([(2, b"k", True)], {b"k": 1}, ([], [])),
        ([(2, b"k", True), (3, b"l", False)], {b"k": 2, b"l": 3}, ([], [])),
    ],
    ids=["front", "next", "second", "behind-held", "late-order", "waits-for-later", "two-keys"],
)
def test_the_front_of_each_key(
    found: list[tuple[int, bytes, bool]], heads: dict[bytes, int], expected: tuple[list[int], list[int]]
) -> None:
    assert rules.fronts(found, heads) == expected


def test_a_receive_stops_at_its_bytes_and_takes_one_at_least() -> None:
    assert rules.within([(1, 10), (2, 10), (3, 10)], 15) == [1, 2]
    assert rules.within([(1, 100), (2, 1)], 15) == [1]
    assert rules.within([], 15) == []
