"""time: dates, places, reading texts, rounding."""

# ruff: noqa: E501 - a case is a line, and reads best as one

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.unit.handlers.lua.support import complaint, run

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("zone")]


NY = "local ny = time.load_location('America/New_York') "


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("time.date(2024, 2, 29, 12, 30, 5, 7)", "2024-02-29 12:30:05.000000007 -0500 EST"),
        ("time.date(2024, 13, 1, 0, 0, 0, 0, time.utc)", "2025-01-01 00:00:00 +0000 UTC"),
        ("time.date(2024, 1, 0, 0, 0, 0, 0, time.utc)", "2023-12-31 00:00:00 +0000 UTC"),
        ("time.date(2024, 1, 1, -1, 0, 0, 0, time.utc)", "2023-12-31 23:00:00 +0000 UTC"),
        ("time.date(2024, 0, 1, 0, 61, 61, -1, time.utc)", "2023-12-01 01:02:00.999999999 +0000 UTC"),
        ("time.date(2024, 1, 1, 0, 0, 0, 1500000000, time.utc)", "2024-01-01 00:00:01.5 +0000 UTC"),
        ("time.date(2024.9, 1.9, 1, 0, 0, 0, 0, time.utc)", "2024-01-01 00:00:00 +0000 UTC"),
        ("time.date(1, 1, 1, 0, 0, 0, 0, time.utc)", "0001-01-01 00:00:00 +0000 UTC"),
        ("time.date(-43, 3, 15, 0, 0, 0, 0, time.utc)", "-0043-03-15 00:00:00 +0000 UTC"),
        ("time.date(12345, 6, 7, 0, 0, 0, 0, time.utc)", "12345-06-07 00:00:00 +0000 UTC"),
        ("time.date(2024, 7, 1, 12, 0, 0, 0, ny)", "2024-07-01 12:00:00 -0400 EDT"),
        ("time.date(2024, 1, 1, 12, 0, 0, 0, ny)", "2024-01-01 12:00:00 -0500 EST"),
        ("time.date(2024, 3, 10, 2, 30, 0, 0, ny)", "2024-03-10 01:30:00 -0500 EST"),
        ("time.date(2024, 11, 3, 1, 30, 0, 0, ny)", "2024-11-03 01:30:00 -0400 EDT"),
        ("time.date(2024, 1, 1, 0, 0, 0, 0, time.fixed_zone('X', 5400))", "2024-01-01 00:00:00 +0130 X"),
        ("time.date(2024, 1, 1, 0, 0, 0, 0, time.fixed_zone('', -5400))", "2024-01-01 00:00:00 -0130 -0130"),
        ("time.date(2024, 1, 31, 0, 0, 0, 0, time.utc):add_date(0, 1, 0)", "2024-03-02 00:00:00 +0000 UTC"),
        ("time.date(2023, 1, 31, 0, 0, 0, 0, time.utc):add_date(0, 1, 0)", "2023-03-03 00:00:00 +0000 UTC"),
        ("time.date(2024, 3, 9, 12, 0, 0, 5, ny):add_date(0, 0, 1)", "2024-03-10 12:00:00.000000005 -0400 EDT"),
        ("time.date(2024, 3, 9, 12, 0, 0, 0, ny):add('24h')", "2024-03-10 13:00:00 -0400 EDT"),
        ("time.date(2024, 2, 29, 0, 0, 0, 0, time.utc):add_date(-1, -2, 40)", "2023-02-07 00:00:00 +0000 UTC"),
        ("time.unix(0, 0):in_location(ny)", "1969-12-31 19:00:00 -0500 EST"),
        ("time.unix(-5000000000, 0):in_location(ny)", "1811-07-23 10:10:38 -0456 LMT"),
        ("time.unix(10000000000000, 0):utc()", "318857-05-20 17:46:40 +0000 UTC"),
        ("time.unix(1720000000, 0):in_location(time.load_location('Asia/Kathmandu'))", "2024-07-03 15:31:40 +0545 +0545"),
        ("time.unix(0, 0):in_location(time.load_location('Local'))", "1969-12-31 19:00:00 -0500 EST"),
        ("time.unix(0, 0):in_location(time.load_location('UTC'))", "1970-01-01 00:00:00 +0000 UTC"),
        ("time.date(2024, 5, 5, 12, 34, 56, 789, time.utc):truncate(time.parse_duration('1h'))", "2024-05-05 12:00:00 +0000 UTC"),
        ("time.date(2024, 5, 5, 12, 34, 56, 789, time.utc):round(time.parse_duration('1h'))", "2024-05-05 13:00:00 +0000 UTC"),
        ("time.date(2024, 5, 5, 12, 30, 0, 0, time.utc):round(time.parse_duration('1h'))", "2024-05-05 13:00:00 +0000 UTC"),
        ("time.date(2024, 5, 5, 12, 29, 0, 0, time.utc):round(time.parse_duration('1h'))", "2024-05-05 12:00:00 +0000 UTC"),
        ("time.date(2024, 5, 5, 12, 34, 56, 789, time.utc):truncate(time.parse_duration('168h'))", "2024-04-29 00:00:00 +0000 UTC"),
        ("time.date(2024, 5, 5, 12, 34, 56, 789, time.utc):truncate(time.parse_duration('7ns'))", "2024-05-05 12:34:56.000000784 +0000 UTC"),
        ("time.date(2024, 5, 5, 12, 34, 56, 789, time.utc):round(time.parse_duration('0'))", "2024-05-05 12:34:56.000000789 +0000 UTC"),
        ("time.date(2024, 5, 5, 12, 34, 56, 789, time.utc):truncate(time.parse_duration('-1h'))", "2024-05-05 12:34:56.000000789 +0000 UTC"),
        ("time.date(-5, 5, 5, 12, 34, 56, 789, time.utc):truncate(time.parse_duration('1h'))", "-0005-05-05 12:00:00 +0000 UTC"),
        ("time.date(-5, 5, 5, 12, 34, 56, 789, time.utc):round(time.parse_duration('1h'))", "-0005-05-05 13:00:00 +0000 UTC"),
        ("time.date(2024, 1, 1, 0, 0, 0, 0):location()", "Local"),
        ("time.date(2024, 1, 1, 0, 0, 0, 0, ny):location()", "America/New_York"),
        ("time.date(2024, 1, 1, 0, 0, 0, 0, ny):utc():location()", "UTC"),
        ("time.fixed_zone('X', 60):string()", "X"),
        ("time.utc:string()", "UTC"),
        ("time.localtz", "Local"),
        ("time.date(3000, 1, 1, 0, 0, 0, 0, time.utc):sub(time.unix(0, 0))", "2562047h47m16.854775807s"),
        ("time.date(1000, 1, 1, 0, 0, 0, 0, time.utc):sub(time.date(3000, 1, 1, 0, 0, 0, 0))", "-2562047h47m16.854775808s"),
        ("time.date(2024, 7, 3, 0, 0, 0, 0, time.utc):format('_2006 x_2x Z07 -07:00:00 06')", "_2024 x 3x Z +00:00:00 24"),
    ],
)  # fmt: skip
async def test_texts(code: str, text: str) -> None:
    assert await run(f"{NY} return tostring({code})") == text


@pytest.mark.parametrize(
    "name", ["America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Europe/Dublin", "Asia/Tokyo"]
)
async def test_zones_agree_with_python(name: str) -> None:
    place = ZoneInfo(name)
    start = datetime(1971, 1, 1, 11, 17, tzinfo=UTC)
    instants = [int((start + timedelta(days=13 * n, hours=n)).timestamp()) for n in range(1500)]
    code = f"""local place, found = time.load_location('{name}'), {{}}
    for i, at in ipairs(body) do found[i] = time.unix(at, 0):in_location(place):format('2006-01-02 15:04:05 -0700 MST') end
    return found"""
    expected = [datetime.fromtimestamp(at, place).strftime("%Y-%m-%d %H:%M:%S %z %Z") for at in instants]
    assert await run(code, instants) == expected


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("time.parse(time.RFC3339, '2006-01-02T15:04:05Z')", "2006-01-02 15:04:05 +0000 UTC"),
        ("time.parse(time.RFC3339, '2006-01-02T15:04:05.25Z')", "2006-01-02 15:04:05.25 +0000 UTC"),
        ("time.parse(time.RFC3339NANO, '2006-01-02T15:04:05.123456789+02:00')", "2006-01-02 15:04:05.123456789 +0200 +0200"),
        ("time.parse(time.RFC3339, '2006-01-02T15:04:05-05:00')", "2006-01-02 15:04:05 -0500 EST"),
        ("time.parse(time.RFC822, '02 Jan 06 15:04 EST')", "2006-01-02 15:04:00 -0500 EST"),
        ("time.parse(time.RFC822, '02 jan 69 15:04 XYZ')", "1969-01-02 15:04:00 +0000 XYZ"),
        ("time.parse(time.RFC822, '02 Jan 68 15:04 GMT+3')", "2068-01-02 15:04:00 +0300 GMT+3"),
        ("time.parse(time.RFC822Z, '02 Jan 06 15:04 +0130')", "2006-01-02 15:04:00 +0130 +0130"),
        ("time.parse(time.RFC850, 'Monday, 02-Jan-06 15:04:05 UTC')", "2006-01-02 15:04:05 +0000 UTC"),
        ("time.parse(time.RFC1123, 'mon, 02 JAN 2006 15:04:05 EST')", "2006-01-02 15:04:05 -0500 EST"),
        ("time.parse(time.KITCHEN, '3:04PM')", "0000-01-01 15:04:00 -0500 EST"),
        ("time.parse(time.KITCHEN, '12:04AM')", "0000-01-01 00:04:00 -0500 EST"),
        ("time.parse('3:04 pm', '12:04 pm', time.utc)", "0000-01-01 12:04:00 +0000 UTC"),
        ("time.parse(time.STAMP, 'Feb  4 10:11:12', time.utc)", "0000-02-04 10:11:12 +0000 UTC"),
        ("time.parse(time.STAMP_MILLI, 'Feb  4 10:11:12.345', time.utc)", "0000-02-04 10:11:12.345 +0000 UTC"),
        ("time.parse(time.DATE_TIME, '2024-02-29 23:59:59')", "2024-02-29 23:59:59 -0500 EST"),
        ("time.parse(time.DATE_ONLY, '2024-07-01', ny)", "2024-07-01 00:00:00 -0400 EDT"),
        ("time.parse('2006-01-02 15:04 MST', '2024-07-01 12:00 EDT', ny)", "2024-07-01 12:00:00 -0400 EDT"),
        ("time.parse('2006-01-02 15:04 -0700', '2024-07-01 12:00 -0400', ny)", "2024-07-01 12:00:00 -0400 EDT"),
        ("time.parse(time.TIME_ONLY, '01:02:03', time.utc)", "0000-01-01 01:02:03 +0000 UTC"),
        ("time.parse('2006 002', '2024 366', time.utc)", "2024-12-31 00:00:00 +0000 UTC"),
        ("time.parse('2006 __2', '2023  60', time.utc)", "2023-03-01 00:00:00 +0000 UTC"),
        ("time.parse('2006-1-2 3:4:5 PM Z07:00', '2024-12-9 1:2:3 PM Z')", "2024-12-09 13:02:03 +0000 UTC"),
        ("time.parse('15:04:05.000 -07', '10:11:12,345 +03')", "0000-01-01 10:11:12.345 +0300 +0300"),
        ("time.parse('15:04:05 Z070000', '10:11:12.5 -010203')", "0000-01-01 10:11:12.5 -0102 -0102"),
        ("time.parse('January _2 2006  x', 'march 5 2024 x', time.utc)", "2024-03-05 00:00:00 +0000 UTC"),
        ("time.parse('2006 MST', '2024 +03', time.utc)", "2024-01-01 00:00:00 +0000 +03"),
        ("time.parse('2006 MST', '2024 WITA', time.utc)", "2024-01-01 00:00:00 +0000 WITA"),
        ("time.parse('', '')", "0000-01-01 00:00:00 -0500 EST"),
    ],
)  # fmt: skip
async def test_parse(call: str, text: str) -> None:
    assert await run(f"{NY} return tostring({call})") == text


@pytest.mark.parametrize(
    ("layout", "text", "message"),
    [
        ("2006-01-02", "x", 'parsing time "x" as "2006-01-02": cannot parse "x" as "2006"'),
        ("2006-01-02", "2024-1-1", 'parsing time "2024-1-1" as "2006-01-02": cannot parse "1-1" as "01"'),
        ("2006-01-02", "2024/01/02", 'parsing time "2024/01/02" as "2006-01-02": cannot parse "/01/02" as "-"'),
        ("2006-01-02", "2024-13-02", 'parsing time "2024-13-02": month out of range'),
        ("2006-01-02", "2023-02-29", 'parsing time "2023-02-29": day out of range'),
        ("2006-01-02", "2023-02-00", 'parsing time "2023-02-00": day out of range'),
        ("2006-01-02", "2023-02-01 x", 'parsing time "2023-02-01 x": extra text: " x"'),
        ("15:04:05", "24:00:00", 'parsing time "24:00:00": hour out of range'),
        ("15:04:05", "23:60:00", 'parsing time "23:60:00": minute out of range'),
        ("15:04:05", "23:59:60", 'parsing time "23:59:60": second out of range'),
        ("3PM", "13PM", 'parsing time "13PM": hour out of range'),
        ("3PM", "1XM", 'parsing time "1XM" as "3PM": cannot parse "XM" as "PM"'),
        ("3PM", "1", 'parsing time "1" as "3PM": cannot parse "" as "PM"'),
        ("Jan", "Foo", 'parsing time "Foo" as "Jan": cannot parse "Foo" as "Jan"'),
        ("MST", "ab", 'parsing time "ab" as "MST": cannot parse "ab" as "MST"'),
        ("MST", "ABCDEF", 'parsing time "ABCDEF" as "MST": cannot parse "ABCDEF" as "MST"'),
        ("-07:00", "+0700", 'parsing time "+0700" as "-07:00": cannot parse "+0700" as "-07:00"'),
        ("-07:00", "+25:00", 'parsing time "+25:00": time zone offset hour out of range'),
        ("-0700", "+0161", 'parsing time "+0161": time zone offset minute out of range'),
        ("05.000", "01.12", 'parsing time "01.12" as "05.000": cannot parse ".12" as ".000"'),
        ("2006 002", "2023 366", 'parsing time "2023 366": day-of-year out of range'),
        ("2006-01 002", "2023-02 001", 'parsing time "2023-02 001": day-of-year does not match month'),
        ("2006-02 002", "2023-02 001", 'parsing time "2023-02 001": day-of-year does not match day'),
        ("x\"'", "é", 'parsing time "\\xc3\\xa9" as "x\\"\'": cannot parse "\\xc3\\xa9" as "x\\"\'"'),
        ("a b", "axb", 'parsing time "axb" as "a b": cannot parse "xb" as "a b"'),
    ],
)
async def test_parse_refuses(layout: str, text: str, message: str) -> None:
    code = "local a, b = ... local v, e = time.parse(a, b) return {v == nil, e:kind(), e:message(), e:retryable()}"
    assert await run(code, layout, text) == [True, "Invalid", message, False]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        ("time.load_location('')", "Invalid", "empty location name"),
        ("time.load_location('Mars/Phobos')", "NotFound", "unknown time zone Mars/Phobos"),
        ("time.load_location('../../etc/passwd')", "NotFound", "unknown time zone ../../etc/passwd"),
        ("time.load_location('/etc/localtime')", "NotFound", "unknown time zone /etc/localtime"),
        ("time.load_location('America')", "NotFound", "unknown time zone America"),
        ("time.load_location('\\0')", "NotFound", "unknown time zone \0"),
    ],
)
async def test_unknown_places(call: str, kind: str, message: str) -> None:
    code = f"local v, e = {call} return {{v == nil, e:kind(), e:message(), e:retryable()}}"
    assert await run(code) == [True, kind, message, False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("time.date(2024, 1, 1, 0, 0, 0)", "bad argument #7 to date (number expected, got nil)"),
        ("time.date('2024', 1, 1, 0, 0, 0, 0)", "bad argument #1 to date (number expected, got string)"),
        ("time.date(2024, 1, 1, 0, 0, 0, 0, nil)", "bad argument #8 to date (location expected)"),
        ("time.date(2024, 1, 1, 0, 0, 0, 0, 'UTC')", "bad argument #8 to date (location expected)"),
        ("time.date(0 / 0, 1, 1, 0, 0, 0, 0)", "bad argument #1 to date (number has no integer representation)"),
        ("time.unix(1e300, 0)", "bad argument #1 to unix (number has no integer representation)"),
        ("time.parse({}, '')", "bad argument #1 to parse (string expected, got table)"),
        ("time.parse('')", "bad argument #2 to parse (string expected, got nil)"),
        ("time.parse('', '', 'UTC')", "bad argument #3 to parse (location expected)"),
        ("time.load_location()", "bad argument #1 to load_location (string expected, got nil)"),
        ("time.fixed_zone('x')", "bad argument #2 to fixed_zone (number expected, got nil)"),
        ("time.now():add_date(1, 2)", "bad argument #3 to add_date (number expected, got nil)"),
        ("time.now():in_location('UTC')", "location expected"),
        ("time.now():round(5)", "duration expected"),
        ("time.now():truncate('1h')", "duration expected"),
        ("time.utc.string()", "location expected"),
        ("time.utc.x = 1", "attempt to modify a time.Location"),
    ],
)
async def test_what_raises(call: str, message: str) -> None:
    assert await complaint(call) == message


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("local t = time.now() return {tostring(t):match(' m=%+%d+%.%d%d%d%d%d%d%d%d%d$') ~= nil, tostring(t:add(1)):match(' m=%+') ~= nil, tostring(t:utc()):match('m='), tostring(t:round(time.parse_duration('1s'))):match('m=')}", [True, True]),
        ("return tostring(time.now():add('-10s')):match(' m=.') == ' m=-'", True),
        ("return type(time.utc) .. type(time.localtz) .. tostring(time.utc == time.unix(0, 0):utc():location())", "userdatauserdatatrue"),
        ("local t = time.unix(0, 0) return t:in_location(time.utc):equal(t)", True),
    ],
)  # fmt: skip
async def test_details(code: str, expected: Any) -> None:
    assert await run(code) == expected
