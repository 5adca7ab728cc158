from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasuki.units import (
    check_time,
    format_duration,
    format_rate,
    format_size,
    needed,
    one_of,
    parse_duration,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        (0, 0),
        (5, 5),
        (1.5, 1.5),
        ("500ms", 0.5),
        ("1h30m", 5400),
        ("1h30m5.5s", 5405.5),
        ("2d", 172_800),
        (".5s", 0.5),
        ("1.s", 1),
        ("10us", 1e-5),
        ("10µs", 1e-5),
        ("3ns", 3e-9),
        (timedelta(minutes=1, milliseconds=500), 60.5),
    ],
)
def test_durations(value: Any, seconds: float) -> None:
    assert parse_duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        "",
        timedelta(seconds=-1),
        "5",
        "1 s",
        "1h 30m",
        "-5s",
        "s",
        "5x",
        "1h!",
        "!1h",
        "5S",
        True,
        None,
        [5],
        -1,
        -0.1,
        float("inf"),
        float("nan"),
        "9" * 400 + "s",
    ],
)
def test_what_is_no_duration(value: Any) -> None:
    with pytest.raises(ValueError, match="is not a duration") as caught:
        parse_duration(value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", ["36501d", 1e18])
def test_no_duration_is_longer_than_a_broker_can_count(value: object) -> None:
    assert parse_duration("36500d") == 36500 * 86400
    with pytest.raises(ValueError, match="longer than 100 years"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.25, "250ms"),
        (0.0005, "0.5ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (59.9996, "1m"),
        (60, "1m"),
        (5400, "1h30m"),
        (3600.5, "1h0.5s"),
        (90_000, "25h"),
    ],
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (0, 0),
        (65_536, 65_536),
        ("65536", 65_536),
        ("1B", 1),
        ("256KiB", 262_144),
        ("1 MB", 1_000_000),
        ("1.5KiB", 1536),
        (" 2gib ", 2**31),
        ("3GB", 3 * 10**9),
    ],
)
def test_sizes(value: Any, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize("value", ["", "KiB", "1XB", "-1", -1, 1.5, True, None, "1KiB2B"])
def test_what_is_no_size(value: Any) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(value)


def test_a_fraction_of_a_byte() -> None:
    with pytest.raises(ValueError, match="not a whole number of bytes"):
        parse_size("0.1B")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1000, "1000B"), (1024, "1KiB"), (262_144, "256KiB"), (2**20, "1MiB"), (3 * 2**30, "3GiB")],
)
def test_format_size(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_a_number_beyond_floats_is_no_duration(value: int) -> None:
    with pytest.raises(ValueError, match="is not a duration of zero or more seconds"):
        parse_duration(value)


def test_a_size_keeps_every_digit() -> None:
    assert parse_size("9007199254740993") == 9007199254740993
    assert parse_size("1.5KiB") == 1536


NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)


def test_a_time_has_a_time_zone() -> None:
    assert check_time(NOON) is NOON
    for wrong in (datetime(2026, 4, 1), "noon", 5, None):
        with pytest.raises(
            ValueError, match=r"at must be a datetime with a time zone, not .*; write datetime\(…, tzinfo="
        ):
            check_time(wrong)


def test_one_of_a_delay_and_a_time() -> None:
    assert [one_of("after", None, None), one_of("after", "5s", None), one_of("after", None, NOON)] == [None, "5s", NOON]
    with pytest.raises(ValueError, match="give either after or at, not both"):
        one_of("after", 0, NOON)
    assert needed("Snooze", 0) == 0
    with pytest.raises(ValueError, match="Snooze needs a time"):
        needed("Snooze", None)


@pytest.mark.parametrize(
    ("value", "rate", "text"),
    [
        ("10/s", 10, "10/s"),
        ("100/m", 100 / 60, "1.66667/s"),
        ("30/m", 0.5, "30/m"),
        ("5/h", 5 / 3600, "5/h"),
        ("2/d", 2 / 86400, "2/d"),
        ("1/30s", 1 / 30, "2/m"),
        ("1 / 1m30s", 1 / 90, "40/h"),
        ("1.5", 1.5, "1.5/s"),
        (250, 250, "250/s"),
    ],
)
def test_rates(value: Any, rate: float, text: str) -> None:
    assert parse_rate(value) == pytest.approx(rate)
    assert format_rate(rate) == text


@pytest.mark.parametrize(
    "value", ["", "/s", "10/", "10/x", "0/s", "-1/s", "1/0s", "nan/s", "inf", 0, -1, True, None, [1]]
)
def test_what_is_no_rate(value: Any) -> None:
    with pytest.raises(ValueError, match="is not a rate above 0; write it like 10/s, 100/m or 5/h"):
        parse_rate(value)
