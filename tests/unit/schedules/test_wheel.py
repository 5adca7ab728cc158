from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from tasuki.schedules import wheel as wheel_module
from tasuki.schedules.cron import Cron
from tasuki.schedules.schedule import CatchUp, Schedule
from tasuki.schedules.timing import Every, Timing, cron_timing, next_tick, ticks
from tasuki.schedules.wheel import Wheel, begin, dropped

START = int(datetime.fromisoformat("2026-05-13T00:00:00Z").timestamp())


def due(wheel: Wheel, mark: int, now: int) -> list[tuple[str, int]]:
    """Ids, and seconds from the start."""
    return [(tick.schedule.id, tick.at - START) for tick in wheel.due(START + mark, START + now)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Timing]:
    """The timings whose next tick was computed."""
    found: list[Timing] = []

    def counted(timing: Timing, after: int) -> int | None:
        found.append(timing)
        return next_tick(timing, after)

    monkeypatch.setattr(wheel_module, "next_tick", counted)
    return found


def test_what_is_due_comes_in_order_of_time() -> None:
    wheel = Wheel(
        [Schedule("slow", Every(30), "all"), Schedule("quick", Every(20), "all"), Schedule("late", Every(3600))]
    )
    assert due(wheel, 0, 60) == [("quick", 20), ("slow", 30), ("quick", 40), ("slow", 60), ("quick", 60)]
    assert due(wheel, 60, 79) == []
    assert due(wheel, 60, 80) == [("quick", 80)]


def test_schedules_with_one_timing_tick_together_in_the_order_in_which_they_were_given() -> None:
    wheel = Wheel(Schedule(f"s{number}", cron_timing("* * * * *", "Asia/Tokyo")) for number in range(3))
    assert due(wheel, 0, 60) == [("s0", 60), ("s1", 60), ("s2", 60)]


def test_the_same_round_again_gives_the_same_ticks() -> None:
    wheel = Wheel([Schedule("a", Every(20)), Schedule("b", Every(30))])
    first = due(wheel, 0, 40)
    assert first == due(wheel, 0, 40) == [("a", 20), ("b", 30), ("a", 40)]
    assert due(wheel, 40, 60) == [("a", 60), ("b", 60)]
    assert due(wheel, 0, 40) == first, "another worker has taken the mark back"
    rounds = wheel.due(START, START + 40)
    next(rounds)
    assert due(wheel, 0, 40) == first, "a round that was left is begun again"


def test_a_clock_that_was_put_back_gives_nothing() -> None:
    wheel = Wheel([Schedule("a", Every(20))])
    assert due(wheel, 100, 40) == []
    assert due(wheel, 100, 120) == [("a", 120)]


def test_the_next_moment_at_which_anything_ticks() -> None:
    wheel = Wheel([Schedule("a", Every(20)), Schedule("b", Every(30))])
    assert wheel.next_at(START) == START + 20
    assert wheel.next_at(START + 20) == START + 30
    assert Wheel().next_at(START) is None
    assert due(Wheel(), 0, 1000) == []


def test_a_new_schedule_begins_when_it_was_first_seen() -> None:
    wheel = Wheel([Schedule("old", Every(20), "all"), Schedule("new", Every(20), "all", since=START + 40)])
    assert due(wheel, 0, 60) == [("old", 20), ("old", 40), ("old", 60), ("new", 60)]


@pytest.mark.parametrize(
    ("catch_up", "expected", "dropped"),
    [
        ("skip", [86340, 86400], 1438),
        ("one", [86400], 1439),
        ("all", [60 * number for number in range(441, 1441)], 440),
    ],
)
def test_after_a_day_without_a_worker(catch_up: CatchUp, expected: list[int], dropped: int) -> None:
    schedule = Schedule("a", cron_timing("* * * * *", "Asia/Tokyo"), catch_up)
    wheel = Wheel([schedule])
    assert [at for _, at in due(wheel, 0, 86400)] == expected
    assert list(wheel.dropped(START, START + 86400)) == [(schedule, dropped)]
    assert list(wheel.dropped(START + 86340, START + 86400)) == []


@pytest.mark.parametrize(("catch_up", "most"), [("skip", 10), ("one", 10), ("all", 3100)])
def test_after_a_year_without_a_worker_few_wall_times_are_visited(
    catch_up: CatchUp, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    visited: list[int] = []

    def counted(visit: Callable[[Cron, int], int | None]) -> Callable[[Cron, int], int | None]:
        def call(cron: Cron, wall: int) -> int | None:
            visited.append(wall)
            return visit(cron, wall)

        return call

    monkeypatch.setattr(Cron, "next_wall", counted(Cron.next_wall))
    monkeypatch.setattr(Cron, "last_wall", counted(Cron.last_wall))
    wheel = Wheel([Schedule("a", cron_timing("* * * * *", "Europe/Berlin"), catch_up)])
    assert due(wheel, -365 * 86400, 0)[-1:] == [("a", 0)]
    assert next(dropped for _, dropped in wheel.dropped(START - 365 * 86400, START)) > 365 * 1440 - 1001
    assert 1 < len(visited) < most


def test_ticks_before_a_schedule_was_seen_are_not_counted_as_dropped() -> None:
    old, other, new = (Schedule(id, Every(60), since=since) for id, since in (("a", 0), ("b", 1), ("c", START + 86100)))
    assert dict(Wheel([old, other, new]).dropped(START, START + 86400)) == {old: 1438, other: 1438, new: 3}


def test_a_tick_that_is_dropped_alone() -> None:
    schedule = Schedule("a", Every(86400))
    assert due(Wheel([schedule]), -100, 100) == []
    assert list(Wheel([schedule]).dropped(START - 100, START + 100)) == [(schedule, 1)]


def test_after_the_last_moment_nothing_ticks() -> None:
    wheel = Wheel([Schedule("a", Every(20))])
    assert wheel.next_at(10**15) is None
    assert wheel.next_at(START) == START + 20


def test_choices_of_what_to_catch_up_keep_their_order() -> None:
    wheel = Wheel([Schedule("all", Every(60), "all"), Schedule("one", Every(60), "one"), Schedule("skip", Every(60))])
    assert due(wheel, 0, 180) == [("all", 60), ("all", 120), ("skip", 120), ("all", 180), ("one", 180), ("skip", 180)]


def test_a_reload_adds_changes_and_removes() -> None:
    wheel = Wheel([Schedule("stays", Every(20)), Schedule("changes", Every(20)), Schedule("goes", Every(20))])
    assert due(wheel, 0, 20) == [("stays", 20), ("changes", 20), ("goes", 20)]
    wheel.replace([Schedule("changes", Every(50)), Schedule("stays", Every(20)), Schedule("comes", Every(30))])
    assert due(wheel, 20, 60) == [("comes", 30), ("stays", 40), ("changes", 50), ("stays", 60), ("comes", 60)]
    assert {schedule.id for schedule in wheel} == {"changes", "stays", "comes"}
    assert len(wheel) == 3


def test_one_schedule_is_put_and_removed() -> None:
    wheel = Wheel([Schedule("a", Every(20)), Schedule("b", Every(20))])
    wheel.put(Schedule("a", Every(30)))
    assert due(wheel, 0, 30) == [("b", 20), ("a", 30)]
    assert wheel.get("a") == Schedule("a", Every(30))
    wheel.remove("b")
    wheel.remove("b")
    assert wheel.get("b") is None
    assert due(wheel, 0, 60) == [("a", 30), ("a", 60)]
    wheel.remove("a")
    assert wheel.next_at(START) is None
    wheel.put(Schedule("a", Every(30)))
    assert due(wheel, 0, 60) == [("a", 30), ("a", 60)]


def test_equal_schedules_cost_one_computed_tick(calls: list[Timing]) -> None:
    wheel = Wheel(Schedule(f"s{number}", Every(20 + number % 2)) for number in range(1000))
    assert calls == []
    wheel.next_at(START)
    assert calls == [Every(20), Every(21)]


def test_an_idle_round_computes_nothing(calls: list[Timing]) -> None:
    wheel = Wheel([Schedule("a", Every(3600)), Schedule("b", Every(7200))])
    wheel.next_at(START)
    calls.clear()
    for second in range(3600):
        assert wheel.next_at(START + second) == START + 3600
        assert due(wheel, second, min(second + 1, 3599)) == []
    assert calls == []


def test_a_reload_computes_the_ticks_of_new_groups_only(calls: list[Timing]) -> None:
    schedules = [Schedule("a", Every(20)), Schedule("b", Every(30))]
    wheel = Wheel(schedules)
    wheel.next_at(START)
    calls.clear()
    wheel.replace([*schedules, Schedule("c", Every(40)), Schedule("d", Every(20))])
    wheel.next_at(START)
    assert calls == [Every(40)]


def test_few_groups_of_many_are_due() -> None:
    wheel = Wheel(Schedule(f"s{number}", Every(1000 + number), "all") for number in range(500))
    expected = sorted(
        (at - START, number)
        for number in range(500)
        for at in range(START + 1, START + 301)
        if at % (1000 + number) == 0
    )
    assert 50 < len(expected) < 450
    found = [(tick.at - START, int(tick.schedule.id[1:])) for tick in wheel.due(START, START + 300)]
    assert [at for at, _ in found] == [at for at, _ in expected]
    assert sorted(found) == [*expected]


NOW = int(datetime.fromisoformat("2026-05-13T12:00:30Z").timestamp())


MINUTELY = cron_timing("* * * * *", "Asia/Tokyo")


def published(timing: Timing, catch_up: CatchUp, mark: int, now: int = NOW) -> list[int]:
    """Seconds before now."""
    return [now - tick for tick in ticks(timing, begin(timing, catch_up, mark, now), now)]


@pytest.mark.parametrize("timing", [MINUTELY, Every(60)])
def test_of_ten_minutes_without_a_worker(timing: Timing) -> None:
    mark = NOW - 600
    assert published(timing, "skip", mark) == [30]
    assert published(timing, "one", mark) == [30]
    assert published(timing, "all", mark) == [570, 510, 450, 390, 330, 270, 210, 150, 90, 30]
    assert [dropped(timing, catch_up, mark, NOW) for catch_up in ("skip", "one", "all")] == [9, 9, 0]


def test_skip_drops_what_is_older_than_a_minute() -> None:
    assert published(Every(30), "skip", NOW - 1000) == [60, 30, 0]
    assert published(cron_timing("@daily"), "skip", NOW - 86400) == []
    assert dropped(cron_timing("@daily"), "skip", NOW - 86400, NOW) == 1


def test_one_is_the_latest_however_old() -> None:
    assert published(cron_timing("@yearly"), "one", NOW - 10 * 366 * 86400) == [NOW - 1767225600]
    assert dropped(cron_timing("@yearly"), "one", NOW - 10 * 366 * 86400, NOW) == 9


def test_all_is_a_thousand_of_them() -> None:
    year = NOW - 365 * 86400
    assert len(published(MINUTELY, "all", year)) == 1000
    assert published(MINUTELY, "all", year)[-1] == 30
    assert dropped(MINUTELY, "all", year, NOW) == 365 * 1440 - 1000
    assert len(published(Every(1), "all", NOW - 1000)) == 1000
    assert dropped(Every(1), "all", NOW - 1000, NOW) == 0


@pytest.mark.parametrize("catch_up", ["skip", "one", "all"])
def test_nothing_until_the_mark_is_published_again(catch_up: CatchUp) -> None:
    assert published(MINUTELY, catch_up, NOW - 30) == []
    assert published(MINUTELY, catch_up, NOW - 31) == [30]
    assert published(MINUTELY, catch_up, NOW + 100) == []
    assert dropped(MINUTELY, catch_up, NOW - 31, NOW) == dropped(MINUTELY, catch_up, NOW + 100, NOW) == 0
