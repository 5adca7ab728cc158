"""A second way to find ticks: visit every minute, and compare what a clock on the wall shows then with the fields."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import NamedTuple

MINUTE = timedelta(minutes=1)
DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
SPANS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]


def matches(cron: str, wall: datetime) -> bool:
    """Whether a wall time belongs to an expression; of its texts only those that the tests use."""
    minute, hour, day, month, weekday = cron.upper().split()
    if not (in_field(minute, wall.minute, 0) and in_field(hour, wall.hour, 1) and in_field(month, wall.month, 3)):
        return False
    of_month, of_week = in_days(day, wall), in_weekdays(weekday, wall)
    return of_month and of_week if day[0] == "*" or weekday[0] == "*" else of_month or of_week


def in_field(text: str, value: int, place: int) -> bool:
    return value in values(text, place)


@cache
def values(text: str, place: int) -> frozenset[int]:
    return frozenset(value for term in text.split(",") for value in span_of(term, place))


def span_of(term: str, place: int) -> range:
    low, high = SPANS[place]
    span, _, step = term.partition("/")
    if span != "*":
        first, _, last = span.partition("-")
        low = number(first)
        high = number(last) if last else high if step else low
    return range(low, high + 1, int(step or 1))


def number(text: str) -> int:
    return DAYS.index(text) if text in DAYS else int(text)


def in_days(text: str, wall: datetime) -> bool:
    last = calendar.monthrange(wall.year, wall.month)[1]
    if text == "L":
        return wall.day == last
    if text == "LW":
        return wall.day == max(day for day in range(20, last + 1) if calendar.weekday(wall.year, wall.month, day) < 5)
    return in_field(text, wall.day, 2)


def in_weekdays(text: str, wall: datetime) -> bool:
    weekday = wall.isoweekday() % 7
    if text.endswith("L"):
        is_last = (wall + timedelta(days=7)).month != wall.month
        return is_last and weekday == number(text[:-1])
    if "#" in text:
        day, nth = text.split("#")
        return weekday == number(day) and (wall.day - 1) // 7 + 1 == int(nth)
    return in_field(text, weekday, 4) or (weekday == 0 and in_field(text, 7, 4))


class Minute(NamedTuple):
    """A minute of UTC (seconds), and what a clock shows then."""

    at: int
    wall: datetime
    is_second: bool
    """Whether the clock shows this for the second time."""
    skipped: list[datetime]
    """What it left out before."""


def minutes(zone: tzinfo, start: datetime, end: datetime) -> list[Minute]:
    """Each minute from ``start`` to just before ``end``, both in UTC."""
    found, moment, before = [], start, (start - MINUTE).astimezone(zone).replace(tzinfo=None)
    while moment < end:
        local = moment.astimezone(zone)
        wall = local.replace(tzinfo=None)
        skipped = [before + MINUTE * number for number in range(1, (wall - before) // MINUTE)]
        found.append(Minute(int(moment.timestamp()), wall, bool(local.fold), skipped))
        moment, before = moment + MINUTE, wall
    return found


def expected_ticks(cron: str, visited: list[Minute]) -> list[int]:
    """The minutes, in UTC seconds, at which a job is to tick."""
    minute, hour = cron.split()[:2]
    if {minute[0], hour[0]} & {"*"} or minute == "0-59" or hour == "0-23":
        return [minute.at for minute in visited if matches(cron, minute.wall)]
    return [
        minute.at
        for minute in visited
        if (matches(cron, minute.wall) and not minute.is_second) or any(matches(cron, wall) for wall in minute.skipped)
    ]


def changes_of(zone: tzinfo, year: int) -> list[datetime]:
    """The days of a year, at 00:00 UTC, within which the clocks of a zone change."""
    days = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(365)]
    return [
        day
        for day in days
        if day.astimezone(zone).utcoffset() != (day + timedelta(days=1)).astimezone(zone).utcoffset()
    ]
