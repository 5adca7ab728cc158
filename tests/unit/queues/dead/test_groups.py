"""Letters and their groups."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasuki.message import Message
from tasuki.queues.dead.cause import Origin
from tasuki.queues.dead.groups import KEYS, OTHER, DeadGroup, grouped, merged
from tasuki.queues.dead.letter import Letter, letter_in
from tasuki.queues.dead_letter import dead_letter

NOON = 1_790_000_000.0


def letter(id: str, error: str = "KeyError: 'A4'", now: float = NOON, **options: Any) -> Letter:
    given = {"queue": "app:a", "reason": "max_attempts", "attempts": 3, "content_type": "json/plain", **options}
    outgoing = dead_letter(Message(id, b"x", {"message_type": "send"}), error=error, now=now, **given)
    return letter_in(Message(outgoing.id, outgoing.body, outgoing.headers), "app:dead")


def test_a_letter_says_what_it_died_of() -> None:
    one = letter("1", origin=Origin("shop.Broken", "jobs.py:send"))
    assert (one.id, one.dead, one.queue, one.reason) == ("1", "app:dead", "app:a", "max_attempts")
    assert (one.type, one.place, one.at, one.attempts, one.task) == ("shop.Broken", "jobs.py:send", NOON, 3, "send")
    assert one.message.headers["x_cause"] == one.cause


def test_an_older_letter_is_read_from_its_text() -> None:
    new = letter("1")
    headers = {name: value for name, value in new.message.headers.items() if name not in ("x_cause", "x_error_type")}
    old = letter_in(Message("1", b"x", headers), "app:dead")
    assert (old.cause, old.type, old.place) == (new.cause, "KeyError", "")


def test_a_message_that_was_published_there_is_one_as_well() -> None:
    foreign = letter_in(
        Message("1", b"x", {"x_dead_letter_time": "soon", "attempts": True, "x_last_error": 7}), "app:d"
    )
    assert (foreign.queue, foreign.reason, foreign.at, foreign.attempts, foreign.error) == ("", "", None, None, "7")


def test_a_second_death_leaves_nothing_of_the_first() -> None:
    first = letter("1", origin=Origin("shop.Broken", "jobs.py:send"))
    second = dead_letter(
        first.message, queue="app:dead", reason="expired", error="", attempts=1, now=1, content_type="json/plain"
    ).headers
    assert "x_error_type" not in second
    assert "x_place" not in second
    assert second["x_cause"] != first.cause


def test_the_largest_group_comes_first_with_its_newest_letter() -> None:
    letters = [letter(f"a{n}", f"OSError: {n}", NOON + n) for n in range(5)] + [letter("b", "ValueError: b")]
    first, second = grouped(letters)
    assert (first.count, first.first, first.last, first.sample) == (5, NOON, NOON + 4, "OSError: 4")
    assert first.ids == ("a4", "a3", "a2")
    assert first.other_texts == 4
    assert (second.count, second.ids, second.type) == (1, ("b",), "ValueError")


@pytest.mark.parametrize(
    ("by", "keys"),
    [("type", {"KeyError", ""}), ("queue", {"app:a", "app:b"}), ("reason", {"max_attempts", "expired"}),
     ("day", {"2026-09-21", "1970-01-01"}), ("task", {"send"}), ("place", {""})],
)  # fmt: skip
def test_by_other_things(by: str, keys: set[str]) -> None:
    letters = [letter("1"), letter("2", "", now=0.0, queue="app:b", reason="expired")]
    assert {group.key for group in grouped(letters, by)} == keys


def test_a_letter_without_a_time_has_no_day() -> None:
    foreign = [letter_in(Message("1", b"x", {}), "d"), letter_in(Message("2", b"x", {"x_dead_letter_time": 1e20}), "d")]
    [group] = grouped(foreign, "day")
    assert (group.key, group.first, group.last) == ("", 1e20, 1e20)


def test_the_rest_of_many_groups_is_one() -> None:
    names = [f"{a}{b}" for a in "abcdefghij" for b in "abcdefghij"]
    groups = grouped([letter(name, f"Error{name}") for name in names], most=30)
    assert (len(groups), groups[-1].key, groups[-1].count) == (31, OTHER, 70)


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(
        ValueError, match="grouped by cause, type, place, queue, reason, task, consumer, day, not by 'x'"
    ):
        grouped([], "x")
    assert next(iter(KEYS)) == "cause"


def counted(key: str, count: int, first: float | None, last: float | None, *ids: str) -> DeadGroup:
    return DeadGroup(key, count, first, last, f"queue of {ids}", "", "", "", (), ids)


def test_groups_of_one_key_are_one_with_the_texts_of_the_newest() -> None:
    groups = [counted("a", 2, 5.0, 6.0, "1", "2"), counted("b", 4, 1.0, 2.0), counted("a", 3, 1.0, 9.0, "3", "1", "4")]
    [a, b] = merged(groups)
    assert (a.key, a.count, a.first, a.last, a.ids) == ("a", 5, 1.0, 9.0, ("3", "1", "4"))
    assert a.queue == "queue of ('3', '1', '4')"
    assert b == groups[1]
    [unknown] = merged([counted("a", 1, None, None), counted("a", 1, None, 3.0)])
    assert (unknown.first, unknown.last) == (None, 3.0)


def test_what_was_counted_as_the_rest_stays_the_rest() -> None:
    groups = [counted(f"{number}", number, 1.0, 2.0) for number in range(1, 5)]
    rest = merged(groups, [counted(OTHER, 100, 0.5, 7.0), counted(OTHER, 10, 3.0, 4.0)], most=2)
    assert [(group.key, group.count) for group in rest] == [("4", 4), ("3", 3), (OTHER, 113)]
    assert (rest[-1].first, rest[-1].last) == (0.5, 7.0)
    assert merged([]) == []


def test_a_group_is_titled_by_the_commonest_text() -> None:
    letters = [letter(f"a{n}", "OSError: 1", NOON) for n in range(3)] + [letter("b", "OSError: 2", NOON + 9)]
    [group] = grouped(letters)
    assert (group.sample, group.other_texts, group.words) == ("OSError: 1", 1, "OSError: 1")
    [joined] = merged([group, *grouped([letter(f"c{n}", "OSError: 2", NOON) for n in range(4)])])
    assert (joined.count, joined.sample, joined.other_texts) == (8, "OSError: 2", 1)


def test_other_texts_are_not_counted_where_not_all_letters_were_asked() -> None:
    [group] = grouped([letter("a", "OSError: 1"), letter("b", "OSError: 2")])
    assert replace(group, count=9).other_texts is None
    assert replace(group, count=9, texts=group.texts[:1]).other_texts == 0


def test_a_group_without_a_text_is_named_by_its_type_or_its_reason() -> None:
    [group] = grouped([letter("a", "", reason="expired")])
    assert (group.sample, group.words) == ("", "expired")
    assert replace(group, type="shop.Broken").words == "shop.Broken"
    assert replace(group, type="shop.Broken", texts=(("no", 1),)).words == "shop.Broken: no"
