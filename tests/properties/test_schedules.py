from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasuki.schedules.schedule import CatchUp, Schedule, Tick
from tasuki.schedules.times.cron import Cron
from tasuki.schedules.times.timing import (
    Every,
    Timing,
    count_ticks,
    cron_timing,
    last_tick,
    next_tick,
    ticks,
    ticks_back,
)
from tasuki.schedules.times.wall_time import find_zone
from tasuki.schedules.wheel import Wheel, begin, dropped
from tests.support.wall_clocks import changes_of, expected_ticks, minutes

ZONES = sorted(name for name in zoneinfo.available_timezones() if "/" in name)
CHANGING = ["Africa/Cairo", "Antarctica/Troll", "Australia/Lord_Howe", "Europe/Berlin", "Pacific/Chatham"]
START = datetime(2026, 1, 1, tzinfo=UTC)


def fields(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    plain = number.map(str) | span
    step = st.tuples(st.just("*") | span, st.integers(1, 40)).map(lambda parts: f"{parts[0]}/{parts[1]}")
    lists = st.lists(plain | step, min_size=1, max_size=3).map(",".join)
    return st.just("*") | plain | lists


days = fields(1, 28) | st.sampled_from(["L", "LW"])
weekdays = fields(0, 6) | st.sampled_from(["5L", "2#2", "SUN", "mon-fri"])
crons = st.tuples(fields(0, 59), fields(0, 23), days, fields(1, 12), weekdays).map(" ".join)
daily = st.tuples(fields(0, 59), fields(0, 4)).map(lambda parts: f"{parts[0]} {parts[1]} * * *")


@contextmanager
def refusal_that_names(text: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        if text not in str(error):
            raise AssertionError(f"{error} does not name {text}") from error


@given(st.text(max_size=20) | st.text("0123456789*/-,L#W? @adefhilmnoruwy", max_size=20))
def test_any_text_is_a_cron_or_refused(text: str) -> None:
    with refusal_that_names(repr(text) if text.split() else "the cron is empty"):
        assert Cron(text).next_wall(0) is not None


@given(st.text(max_size=20) | st.text("AEaestiUTC/_.+-0", max_size=20))
def test_any_text_is_a_zone_or_refused(text: str) -> None:
    with refusal_that_names(repr(text)):
        assert datetime.fromtimestamp(0, find_zone(text)).utcoffset() is not None


@settings(max_examples=100, deadline=None)
@given(daily | crons, st.sampled_from(ZONES), st.integers(2000, 2040), st.integers(0, 1439))
def test_each_minute_of_a_day_on_which_any_zone_changes_its_clocks(
    cron: str, name: str, year: int, minute: int
) -> None:
    zone = find_zone(name)
    day = (changes_of(zone, year) or [datetime(year, 1, 1, tzinfo=UTC)])[-1]
    start, end = day - timedelta(minutes=minute), day + timedelta(hours=27)
    with refusal_that_names("names a date that never comes"):
        timing, after, until = cron_timing(cron, name), int(start.timestamp()) - 1, int(end.timestamp()) - 1
        assert list(ticks(timing, after, until)) == expected_ticks(cron, minutes(zone, start, end))


@st.composite
def timings(draw: st.DrawFn) -> Timing:
    if draw(st.booleans()):
        return Every(draw(st.integers(1, 5000)))
    return cron_timing(draw(daily), draw(st.sampled_from(CHANGING)))


moments = st.tuples(st.integers(0, 365), st.integers(0, 86399)).map(
    lambda parts: int(START.timestamp()) + parts[0] * 86400 + parts[1]
)
lengths = st.integers(0, 40_000)


@settings(deadline=None)
@given(timings(), moments, lengths, lengths)
def test_ticks_are_the_same_however_they_are_found(timing: Timing, after: int, first: int, second: int) -> None:
    until = after + first + second
    found = list(ticks(timing, after, until))
    assert found == sorted(set(found))
    assert all(after < tick <= until for tick in found)
    assert list(ticks(timing, after, after + first)) + list(ticks(timing, after + first, until)) == found
    assert list(ticks_back(timing, until, after)) == found[::-1]
    assert count_ticks(timing, after, until) == len(found)
    following, last = next_tick(timing, after), last_tick(timing, until)
    assert found == [] if following is None or following > until else following == found[0]
    assert found == [] if last is None or last <= after else last == found[-1]


@settings(deadline=None)
@given(timings(), st.sampled_from(["skip", "one", "all"]), moments, lengths)
def test_a_tick_is_published_or_counted_as_dropped(timing: Timing, catch_up: CatchUp, mark: int, length: int) -> None:
    now = mark + length
    every = list(ticks(timing, mark, now))
    published = list(ticks(timing, begin(timing, catch_up, mark, now), now))
    assert published == every[len(every) - len(published) :]
    assert dropped(timing, catch_up, mark, now) == len(every) - len(published)
    expected = {"skip": [tick for tick in every if tick >= now - 60], "one": every[-1:], "all": every[-1000:]}
    assert published == expected[catch_up]


@given(st.text(max_size=10), st.integers(0, 2**40), st.floats(0, 1e9))
def test_jitter_is_never_negative_nor_above_its_limit(id: str, tick: int, longest: float) -> None:
    one, same = (Tick(Schedule(id, Every(60), jitter=longest), tick).ready_at for _ in range(2))
    assert tick <= one <= tick + longest
    assert one == same


schedules = st.builds(
    Schedule,
    st.sampled_from("abcdef"),
    st.sampled_from([Every(7), Every(20), Every(45), cron_timing("* * * * *"), cron_timing("@daily")]),
    st.sampled_from(["skip", "one", "all"]),
    since=st.integers(0, 500),
)
steps = st.one_of(
    st.tuples(st.just("put"), schedules),
    st.tuples(st.just("remove"), st.sampled_from("abcdef")),
    st.tuples(st.just("replace"), st.lists(schedules, max_size=6)),
    st.tuples(st.just("round"), st.integers(0, 200)),
    st.tuples(st.just("back"), st.integers(0, 200)),
)


@given(st.lists(steps, max_size=15))
def test_a_wheel_publishes_what_its_schedules_say(run: list[tuple[str, object]]) -> None:
    wheel, mark = Wheel(), 0
    held: dict[str, Schedule] = {}
    for step in run:
        match step:
            case "put", Schedule() as schedule:
                wheel.put(schedule)
                held[schedule.id] = schedule
            case "remove", str(id):
                wheel.remove(id)
                held.pop(id, None)
            case "replace", list(new):
                wheel.replace(new)
                held = {schedule.id: schedule for schedule in new}
            case "back", int(seconds):
                mark = max(0, mark - seconds)
            case "round", int(seconds):
                check_round(wheel, held, mark, mark + seconds)
                mark += seconds
    assert {schedule.id: schedule for schedule in wheel} == held


def check_round(wheel: Wheel, held: dict[str, Schedule], mark: int, now: int) -> None:
    found = [(tick.at, tick.schedule.id) for tick in wheel.due(mark, now)]
    expected = [
        (at, schedule.id)
        for schedule in held.values()
        for at in ticks(schedule.timing, begin(schedule.timing, schedule.catch_up, mark, now), now)
        if at > schedule.since
    ]
    assert sorted(found) == sorted(expected)
    assert [at for at, _ in found] == sorted(at for at, _ in found)
    following = [tick for schedule in held.values() if (tick := next_tick(schedule.timing, mark)) is not None]
    assert wheel.next_at(mark) == min(following, default=None)


def test_the_zones_of_these_tests_are_there() -> None:
    assert len(ZONES) > 300, "without a time zone database these tests prove little"
    with pytest.raises(ValueError, match="timezone"):
        find_zone("Nowhere/Land")
