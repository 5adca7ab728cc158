"""os, and the standard functions that differ from stock Lua."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.handlers.lua.support import complaint, delivery, handler, run

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("zone")]


STAMP = 1136239445  # Mon Jan 2 22:04:05 2006 UTC


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("%c", "Mon Jan  2 17:04:05 2006"),
        ("!%c", "Mon Jan  2 22:04:05 2006"),
        ("%a %A %b %B %d %m %y %Y", "Mon Monday Jan January 02 01 06 2006"),
        ("%H %I %M %S %p %j %w", "17 05 04 05 PM 002 1"),
        ("%U %W", "01 01"),
        ("%z %Z %%", "-0500 EST %"),
        ("!%z", "+0000"),
        ("%X", "17:04:05"),
        ("%x", "01/02/06"),
        ("%E %q %D %n %", "%E %q %D %n %"),
        ("", ""),
        ("!", ""),
    ],
)
async def test_os_date(pattern: str, text: str) -> None:
    assert await run(f"return os.date(body, {STAMP})", pattern) == text


async def test_os_date_as_a_table() -> None:
    expected = {"year": 2006, "month": 1, "day": 2, "hour": 17, "min": 4, "sec": 5, "wday": 2, "yday": 2, "isdst": True}
    assert await run(f"return os.date('*t', {STAMP})") == expected
    assert await run(f"return os.date('!*t', {STAMP})") == expected | {"hour": 22, "isdst": False}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("return os.time({year = 2006, month = 1, day = 2, hour = 17, min = 4, sec = 5})", STAMP),
        ("return os.time({year = 2006, month = 1, day = 2})", STAMP - 17 * 3600 - 245),
        ("return os.time({hour = 5}) - os.time({})", 5 * 3600),
        ("return math.abs(os.time() - time.now():unix()) < 2", True),
        ("return #os.date() == 24 and os.date('%Y') == tostring(time.now():year())", True),
        ("return os.difftime(5, 3)", 2.0),
        ("local a = os.clock() time.sleep('20ms') local b = os.clock() - a return b >= 0.02 and b < 5", True),
        ("return os.platform", "wippy"),
        ("return {tonumber('1e3'), tonumber('1.5e3'), tonumber('0x1F'), tonumber(' 7 '), tonumber(2.5)}",
         [None, 1500.0, 31, 7, 2.5]),
        ("return {tonumber('ff', 16), tonumber('x') == nil, tonumber({}) == nil, tonumber(nil) == nil}",
         [255, True, True, True]),
        ("return {tonumber('99999999999999999999') == nil, tonumber('1.') , tonumber('.5')}", [True, 1.0, 0.5]),
        ("return ('%s %s %d %.1f %5.2f|%x'):format(10 / 2, 0.5, 4.0, 2.0, 1, 255.0)", "5 0.5 4 2.0  1.00|ff"),
        ("return ('%s %s'):format(nil, errors.new('e'))", "nil e"),
        ("return {('ÄÉÑЖΣ'):lower(), ('äéñжσſ'):upper(), ('ß'):upper(), ('aZ1'):upper(), ('é\\255É'):lower()}",
         ["äéñжσ", "ÄÉÑЖΣS", "ß", "AZ1", b"\xc3\xa9\xff\xc3\x89"]),  # bytes that are not UTF-8 are left to ASCII
        ("return {math.tointeger('3'), math.tointeger(3.0), math.tointeger(3.5) == nil}", [3, 3, True]),
        ("return {math.pow(2, 3), math.log10(1000), math.mod(7, 4), math.frexp(8)}", [8.0, 3.0, 3, 0.5, 4]),
        ("return {table.maxn({1, [10] = 2}), table.getn({1, 2}), (unpack({7}))}", [10, 2, 7]),
        ("return json.encode({table.create(5, 1), table.create(5, 0)})", "[{},[]]"),
        ("table.insert(body, nil) return {table.remove({}) == nil, #body}", [True, 1]),
    ],
)  # fmt: skip
async def test_values(code: str, expected: Any) -> None:
    assert await run(code, [1]) == expected


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("os.time(nil)", "bad argument #1 to time (table expected, got nil)"),
        ("os.time(errors.new('x'))", "bad argument #1 to time (table expected, got userdata)"),
        ("os.date({})", "bad argument #1 to date (string expected, got table)"),
        ("os.date('%c', '5')", "bad argument #2 to date (number expected, got string)"),
        ("os.date('%c', 1e18)", "bad argument #2 to date (time out of range)"),
        ("os.date('%c', 0 / 0)", "bad argument #2 to date (time out of range)"),
        ("os.difftime('1', 2)", "bad argument #1 to difftime (number expected, got string)"),
        ("os.x = 1", "attempt to modify Immutable table"),
        ("string.format('%d', 1.5)", "bad argument #2 to 'format' (number has no integer representation)"),
        ("string.format('%d')", "bad argument #2 to 'format' (no value)"),
        ("tonumber()", "bad argument #1 to 'tonumber' (value expected)"),
    ],
)
async def test_what_raises(code: str, message: str) -> None:
    assert await complaint(code) == message


async def test_print_shows_everything() -> None:
    context = delivery()
    await run("print('a', 5, 2.0, nil, true, errors.new('e'))", context=context)
    [logged] = context.logged
    assert (logged.level, logged.message) == ("info", "a 5 2 nil true e")


casing = handler("return function(text) return {text:lower(), text:upper()} end")


@given(st.text(max_size=30))
async def test_case_is_that_of_unicode_letter_by_letter(text: str) -> None:
    def simple(letter: str, change: Any) -> str:
        changed: str = change(letter)
        return changed if len(changed) == 1 else letter

    # An unnamed code point of Unicode 14 may have a case in the Unicode of a newer Python.
    lower, upper = await casing.call([text], delivery())
    newer = [letter for letter in text if ord(letter) > 0xA7C9]
    if not newer:
        assert lower == "".join(simple(letter, str.lower) for letter in text)
        assert upper == "".join(simple(letter, str.upper) for letter in text)
