from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from tasuki.schedules.times.timing import count_ticks, cron_timing, ticks, ticks_back
from tasuki.schedules.times.wall_time import find_zone
from tests.support.wall_clocks import changes_of, expected_ticks, minutes

ZONES = {
    "America/New_York": 2,
    "America/Santiago": 2,  # at midnight
    "Africa/Cairo": 2,  # at midnight
    "Africa/Casablanca": 2,  # back for a month, and not an hour ahead
    "Antarctica/Troll": 2,  # two hours
    "Asia/Tokyo": 0,
    "Australia/Lord_Howe": 2,  # half an hour
    "Europe/London": 2,
    "Pacific/Chatham": 2,  # at a quarter to
}
"""Zones, and how often their clocks change in 2026."""
CRONS = [
    "30 2 * * *",
    "0 0 * * *",
    "*/15 3 * * *",
    "15,45 0-3 * * *",
    "0/20 2 * * *",
    "30 * * * *",
    "30 0-23 * * *",
    "0-59 1 * * *",
    "7 */2 * * *",
]
WHOLE = [
    "* * * * *",
    "0 9 * * MON-FRI",
    "45 1 * * SUN",
    "30 2 L * *",
    "30 1 LW * *",
    "30 1 * * 0L",
    "30 2 * * 0#5",
    "30 2 29 3,10 *",
]


def clocks(zone: str, at: int) -> str:
    return f"{datetime.fromtimestamp(at, find_zone(zone)):%d %H:%M%z}"


def between(cron: str, zone: str, start: str, end: str) -> list[str]:
    """The ticks between two moments, as the clocks of the zone show them."""
    after, until = (int(datetime.fromisoformat(text + "Z").timestamp()) for text in (start, end))
    return [clocks(zone, tick) for tick in ticks(cron_timing(cron, zone), after, until)]


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 2 * * *", ["28 02:30+0100", "29 03:00+0200", "30 02:30+0200"]),
        ("0,30 2 * * *", ["28 02:00+0100", "28 02:30+0100", "29 03:00+0200", "30 02:00+0200", "30 02:30+0200"]),
        ("0 2,3 29 * *", ["29 03:00+0200"]),
        ("*/30 2 * * *", ["28 02:00+0100", "28 02:30+0100", "30 02:00+0200", "30 02:30+0200"]),
        ("30 */1 29 * *", [*(f"29 {hour:02}:30+0{1 + (hour > 2)}00" for hour in range(24) if hour != 2)]),
    ],
)
def test_a_gap_in_berlin(cron: str, expected: list[str]) -> None:
    assert between(cron, "Europe/Berlin", "2026-03-27T22:59", "2026-03-30T21:59") == expected


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 2 * * *", ["25 02:30+0200"]),
        ("0,30 2-3 * * *", ["25 02:00+0200", "25 02:30+0200", "25 03:00+0100", "25 03:30+0100"]),
        ("*/30 2 * * *", ["25 02:00+0200", "25 02:30+0200", "25 02:00+0100", "25 02:30+0100"]),
        ("0 * * * *", ["25 00:00+0200", "25 01:00+0200", "25 02:00+0200", "25 02:00+0100", "25 03:00+0100"]),
    ],
)
def test_an_overlap_in_berlin(cron: str, expected: list[str]) -> None:
    assert between(cron, "Europe/Berlin", "2026-10-24T21:59", "2026-10-25T02:59") == expected


def test_chatham_gets_past_its_changes() -> None:
    spring = between("*/15 3 * * *", "Pacific/Chatham", "2026-09-25T12:00", "2026-09-27T12:00")
    assert spring == ["26 03:00+1245", "26 03:15+1245", "26 03:30+1245", "26 03:45+1245", "27 03:45+1345"]
    autumn = between("*/15 3 * * *", "Pacific/Chatham", "2026-04-04T12:00", "2026-04-05T14:15")
    assert autumn == [
        "05 03:00+1345",
        "05 03:15+1345",
        "05 03:30+1345",
        "05 03:00+1245",
        "05 03:15+1245",
        "05 03:30+1245",
        "05 03:45+1245",
        "06 03:00+1245",
    ]


def test_half_an_hour_at_lord_howe() -> None:
    assert between("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00", "2026-10-04T00:00") == ["04 02:30+1100"]
    assert between("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00", "2026-04-05T00:00") == ["05 01:45+1100"]
    assert between("*/45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00", "2026-04-05T00:00") == [
        "05 01:00+1100",
        "05 01:45+1100",
        "05 01:45+1030",
    ]


def test_a_day_that_a_zone_left_out() -> None:
    assert between("0 9 * * *", "Pacific/Apia", "2011-12-29T12:00", "2012-01-01T00:00") == [
        "29 09:00-1000",
        "31 00:00+1400",
        "31 09:00+1400",
        "01 09:00+1400",
    ]


@pytest.mark.parametrize("cron", ["30 2 * * *", "*/15 * * * *"])
@pytest.mark.parametrize("distance", [29, 30, 31, 60, 366])
def test_a_search_that_begins_days_from_a_change(cron: str, distance: int) -> None:
    timing = cron_timing(cron, "Europe/Berlin")
    for change in ("2026-03-29T01:00Z", "2026-10-25T01:00Z"):
        at = int(datetime.fromisoformat(change).timestamp())
        day = list(ticks(timing, at - 7200, at + 7200))
        assert len(day) == (1 if cron[0] == "3" else 16)
        assert [tick for tick in ticks(timing, at - distance * 86400 - 1, at + 7200) if tick > at - 7200] == day
        assert [tick for tick in ticks_back(timing, at + distance * 86400 - 1, at - 7200) if tick <= at + 7200] == day[
            ::-1
        ]
        assert count_ticks(timing, at - distance * 86400 - 1, at + 7200) == len(day) + count_ticks(
            timing, at - distance * 86400 - 1, at - 7200
        )


@pytest.mark.parametrize("zone", ZONES)
def test_every_minute_around_every_change_of_2026(zone: str) -> None:
    place = find_zone(zone)
    days = changes_of(place, 2026)
    assert len(days) == ZONES[zone]
    days += [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(random.Random(zone).randrange(360))]
    for day in days:
        start, end = day - timedelta(hours=3), day + timedelta(hours=27)
        visited = minutes(place, start, end)
        edges = [
            later.at + second
            for minute, later in pairwise(visited)
            if later.wall - minute.wall != timedelta(minutes=1)
            for second in (-1, 0, 900)
        ]
        for cron in [*CRONS, *WHOLE]:
            expected = expected_ticks(cron, visited)
            timing, after, until = cron_timing(cron, zone), int(start.timestamp()) - 1, int(end.timestamp()) - 1
            assert list(ticks(timing, after, until)) == expected, cron
            assert list(ticks_back(timing, until, after)) == expected[::-1], cron
            assert count_ticks(timing, after, until) == len(expected), cron
            source = random.Random(f"{zone} {cron} {day}")
            # Begun and ended anywhere, also within the hour that comes twice, and beside each change.
            if cron in WHOLE:
                continue
            sample = [(edge, until) for edge in edges] + [(after, edge) for edge in edges]
            sample.append((first := source.randrange(after, until), source.randrange(first, until)))
            for first, last in sample:
                part = [tick for tick in expected if first < tick <= last]
                assert list(ticks(timing, first, last)) == part, (cron, first, last)
                assert list(ticks_back(timing, last, first)) == part[::-1], (cron, first, last)
                assert count_ticks(timing, first, last) == len(part), (cron, first, last)
