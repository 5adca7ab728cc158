import zoneinfo
from datetime import UTC, datetime

import pytest

from tasuki.schedules.times.wall_time import Change, changes, changes_back, find_zone, offset_at

YEAR = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())


def test_a_zone_has_its_offsets() -> None:
    assert offset_at(find_zone("Asia/Tokyo"), 0) == 9 * 3600
    assert offset_at(find_zone("America/St_Johns"), YEAR[0]) == -3.5 * 3600
    assert offset_at(find_zone("UTC"), 0) == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("UTC", []),
        ("Asia/Tokyo", []),
        ("Europe/Berlin", [("2026-03-29 01:00", 60, 120), ("2026-10-25 01:00", 120, 60)]),
        ("Pacific/Chatham", [("2026-04-04 14:00", 825, 765), ("2026-09-26 14:00", 765, 825)]),
        ("Australia/Lord_Howe", [("2026-04-04 15:00", 660, 630), ("2026-10-03 15:30", 630, 660)]),
    ],
)
def test_the_changes_of_a_year(name: str, expected: list[tuple[str, int, int]]) -> None:
    found = list(changes(find_zone(name), *YEAR))
    assert [
        (f"{datetime.fromtimestamp(change.at, UTC):%Y-%m-%d %H:%M}", change.before // 60, change.after // 60)
        for change in found
    ] == expected
    assert list(changes_back(find_zone(name), *YEAR)) == found[::-1]


def test_a_change_at_either_end_is_left_out() -> None:
    zone = find_zone("Europe/Berlin")
    spring, autumn = changes(zone, *YEAR)
    assert list(changes(zone, spring.at, autumn.at)) == list(changes_back(zone, spring.at, autumn.at)) == []
    assert list(changes(zone, spring.at - 1, autumn.at + 1)) == [spring, autumn]


def test_a_day_that_was_left_out() -> None:
    at = int(datetime(2011, 12, 30, 10, tzinfo=UTC).timestamp())
    assert list(changes(find_zone("Pacific/Apia"), at - 86400, at + 86400)) == [Change(at, -10 * 3600, 14 * 3600)]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Asia/Tokio", "timezone 'Asia/Tokio' is unknown; did you mean Asia/Tokyo or Asia/Tomsk?"),
        ("tokyo", "timezone 'tokyo' is unknown; did you mean Asia/Tokyo?"),
        ("America/New York", "timezone 'America/New York' is unknown; did you mean America/New_York?"),
        ("JST", "timezone 'JST' is unknown; write an area and a city, such as Asia/Tokyo, or UTC"),
        ("+09:00", "timezone '+09:00' is unknown; write an area and a city, such as Asia/Tokyo, or UTC"),
        ("", "timezone '' is unknown; write an area and a city, such as Asia/Tokyo, or UTC"),
        ("../etc/passwd", "timezone '../etc/passwd' is unknown; write an area and a city, such as Asia/Tokyo, or UTC"),
        ("a\0b", "timezone 'a\\x00b' is unknown; write an area and a city, such as Asia/Tokyo, or UTC"),
        (
            "localtime",
            "timezone 'localtime' differs between machines; write an area and a city, such as Asia/Tokyo",
        ),
        (
            "right/Asia/Tokyo",
            "timezone 'right/Asia/Tokyo' differs between machines; write an area and a city, such as Asia/Tokyo",
        ),
    ],
)
def test_an_unknown_zone_is_refused_with_the_nearest_names(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match="timezone") as caught:
        find_zone(name)
    assert str(caught.value) == hint


def test_an_area_alone_is_no_zone() -> None:
    with pytest.raises(ValueError, match="timezone 'America' is unknown; "):
        find_zone("America")


def test_without_a_time_zone_database_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> zoneinfo.ZoneInfo:
        raise zoneinfo.ZoneInfoNotFoundError(name)

    monkeypatch.setattr(zoneinfo, "ZoneInfo", missing)
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    with pytest.raises(ValueError, match="has no time zone database; run: pip install tzdata, or install the tzdata"):
        find_zone("Asia/Tokyo")
    assert find_zone("UTC") is UTC
