"""time: waiting, the clock, durations and layouts."""

# ruff: noqa: E501 - a case is a line, and reads best as one

from __future__ import annotations

import time

import pytest

from tasuki.errors import LuaError
from tests.unit.handlers.lua.support import complaint, run

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("zone")]


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("0", 0), ("'1ms'", 0.001), ("time.MILLISECOND * 20", 0.02), ("time.parse_duration('10ms')", 0.01), ("-5", 0)],
)
async def test_sleep(duration: str, seconds: float) -> None:
    started = time.monotonic()
    assert await run(f"return select('#', time.sleep({duration}))") == 0
    assert time.monotonic() - started >= seconds


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("time.sleep()", "duration must be number or string"),
        ("time.sleep({})", "duration must be number or string"),
        ("time.sleep('x')", 'time: invalid duration "x"'),
        ("time.sleep('5')", 'time: missing unit in duration "5"'),
        ("time.sleep(1e30)", "duration out of range"),
        ("time.parse_duration('')", 'time: invalid duration ""'),
        ("time.parse_duration('5x')", 'time: unknown unit "x" in duration "5x"'),
        ("time.parse_duration('1h30')", 'time: missing unit in duration "1h30"'),
        ("time.parse_duration('.s')", 'time: invalid duration ".s"'),
        ("time.parse_duration('99999999999h')", 'time: invalid duration "99999999999h"'),
        ("time.parse_duration({})", "invalid duration type: table"),
        ("time.parse_duration()", "invalid duration type: nil"),
    ],
)
async def test_bad_durations(call: str, message: str) -> None:
    found = await run(f"local v, e = {call} return {{v == nil, e:kind(), e:message(), e:retryable()}}")
    assert found == [True, "Invalid", message, False]


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        ("'1h30m'", "1h30m0s"),
        ("'-1.5s'", "-1.5s"),
        ("'300ms'", "300ms"),
        ("'+1.5h'", "1h30m0s"),
        ("'1m0.5s'", "1m0.5s"),
        ("'0'", "0s"),
        ("'1us'", "1µs"),
        ("'1.5µs'", "1.5µs"),
        ("'.5s'", "500ms"),
        ("'7ns'", "7ns"),
        ("90 * time.SECOND", "1m30s"),
        ("1.9", "1ns"),
    ],
)
async def test_durations_as_text(duration: str, text: str) -> None:
    assert await run(f"return tostring(time.parse_duration({duration}))") == text


async def test_duration_methods() -> None:
    code = """
    local d = time.parse_duration('-1h30m0.0015s')
    return {d:nanoseconds(), d:microseconds(), d:milliseconds(), d:seconds(), time.parse_duration('90m'):hours(),
            time.parse_duration('90s'):minutes(), type(d)}
    """
    assert await run(code) == [-5400001500000, -5400001500, -5400001, -5400.0015, 1.5, 1.5, "userdata"]


async def test_constants() -> None:
    code = "return {time.SECOND, time.HOUR, time.JANUARY, time.DECEMBER, time.SUNDAY, time.SATURDAY, math.type(time.NANOSECOND)}"
    assert await run(code) == [1e9, 3.6e12, 1, 12, 0, 6, "float"]


async def test_now() -> None:
    before = time.time()
    code = "local n = time.now() return {n:unix(), n:unix_nano(), math.type(n:unix()), type(n), n:is_zero()}"
    seconds, nanoseconds, *rest = await run(code)
    assert before - 1 <= seconds <= time.time() + 1
    assert abs(nanoseconds / 1e9 - seconds) < 2
    assert rest == ["float", "userdata", False]


STAMP = "local t = time.unix(1136239445, 123456789) "


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        ("time.RFC3339", "2006-01-02T17:04:05-05:00"),
        ("time.RFC3339NANO", "2006-01-02T17:04:05.123456789-05:00"),
        ("time.RFC822", "02 Jan 06 17:04 EST"),
        ("time.RFC850", "Monday, 02-Jan-06 17:04:05 EST"),
        ("time.RFC1123Z", "Mon, 02 Jan 2006 17:04:05 -0500"),
        ("time.KITCHEN", "5:04PM"),
        ("time.STAMP_MILLI", "Jan  2 17:04:05.123"),
        ("time.STAMP_NANO", "Jan  2 17:04:05.123456789"),
        ("time.DATE_TIME", "2006-01-02 17:04:05"),
        ("'3:4:5 pm 1/2'", "5:4:5 pm 1/2"),
        ("'03 002 __2'", "05 002   2"),
        ("'-07 -07:00:00 Z0700 Z07 -070000 Z07:00:00 Z070000'", "-05 -05:00:00 -0500 -05 -050000 -05:00:00 -050000"),
        ("'15:04:05.99 15:04:05,000'", "17:04:05.12 17:04:05,123"),
        ("'Janus Month .'", "Janus Month ."),
        ("'January'", "January"),
    ],
)
async def test_format(layout: str, text: str) -> None:
    assert await run(f"{STAMP} return t:format({layout})") == text


async def test_time_methods() -> None:
    code = f"""{STAMP}
    local u, later = t:utc(), t:add('36h')
    local y, m, d = t:date() local h, mi, s = u:clock()
    return {{y, m, d, h, mi, s, t:year(), t:month(), t:day(), t:hour(), t:minute(), t:second(), t:nanosecond(),
        t:weekday(), t:year_day(), tostring(t), tostring(u), u:in_local():hour(), u:format_rfc3339(), tostring(later:sub(t)),
        later:after(t), later:before(t), t:equal(u), t:after(later), t:add(1):after(t), t:add(-1000):before(t),
        time.unix(-62135596800, 0):is_zero(), time.unix(0, 500):unix(), u:format('Z07:00'), t:add(time.SECOND):second(),
        time.unix(0, 500000000):utc():format('05.000 05.999')}}
    """
    assert await run(code) == [
        2006, 1, 2, 22, 4, 5, 2006, 1, 2, 17, 4, 5, 123456789, 1, 2,
        "2006-01-02 17:04:05.123456789 -0500 EST", "2006-01-02 22:04:05.123456789 +0000 UTC", 17, "2006-01-02T22:04:05Z", "36h0m0s",
        True, False, True, False, True, True, True, 0.0, "Z", 6, "00.500 00.5",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("time.unix(1)", "bad argument #2 to unix (number expected, got nil)"),
        ("time.unix('1', 1)", "bad argument #1 to unix (number expected, got string)"),
        ("time.now():add('x')", 'time: invalid duration "x"'),
        ("time.now():sub(5)", "time expected"),
        ("time.now().unix()", "time expected"),
        ("time.now():format({})", "bad argument #1 to format (string expected, got table)"),
        ("time.parse_duration(1).seconds()", "duration expected"),
        ("time.now().x = 1", "attempt to modify a time.Time"),
    ],
)
async def test_wrong_arguments_raise(code: str, message: str) -> None:
    assert await complaint(code) == message


async def test_no_operators() -> None:
    assert await run("return time.unix(1, 0) == time.unix(1, 0)") is False
    with pytest.raises(LuaError, match="attempt to compare"):
        await run("return time.unix(1, 0) < time.unix(2, 0)")
