from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tasuki.schedules.times.cron import WORDS, Cron, explain_fields

EPOCH = datetime(1970, 1, 1)


def wall(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(seconds=1)


def shown(moment: int | None) -> str:
    assert moment is not None
    return f"{EPOCH + timedelta(seconds=moment):%Y-%m-%d %H:%M}"


def after(cron: str, start: str, number: int) -> list[str]:
    def walls() -> Iterator[int | None]:
        moment: int | None = wall(start)
        for _ in range(number):
            assert moment is not None
            moment = parsed.next_wall(moment)
            yield moment

    parsed = Cron(cron)
    return [shown(moment) for moment in walls()]


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 9 * * mon-fri", ["2026-01-01 09:00", "2026-01-02 09:00", "2026-01-05 09:00"]),
        ("0 9 * * MON,wed", ["2026-01-05 09:00", "2026-01-07 09:00", "2026-01-12 09:00"]),
        ("0 9 * * 7", ["2026-01-04 09:00", "2026-01-11 09:00", "2026-01-18 09:00"]),
        ("0 9 * * 0", ["2026-01-04 09:00", "2026-01-11 09:00", "2026-01-18 09:00"]),
        ("*/25 */11 * * *", ["2026-01-01 00:25", "2026-01-01 00:50", "2026-01-01 11:00"]),
        ("5/20 0 1 jan,jul *", ["2026-01-01 00:05", "2026-01-01 00:25", "2026-01-01 00:45"]),
        ("0 0 L * *", ["2026-01-31 00:00", "2026-02-28 00:00", "2026-03-31 00:00"]),
        ("0 0 LW * *", ["2026-01-30 00:00", "2026-02-27 00:00", "2026-03-31 00:00"]),
        ("0 0 * * 5L", ["2026-01-30 00:00", "2026-02-27 00:00", "2026-03-27 00:00"]),
        ("0 0 * * 2#2", ["2026-01-13 00:00", "2026-02-10 00:00", "2026-03-10 00:00"]),
        ("0 0 * * fri#5", ["2026-01-30 00:00", "2026-05-29 00:00", "2026-07-31 00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"]),
        ("0 0 L 2 *", ["2026-02-28 00:00", "2027-02-28 00:00", "2028-02-29 00:00"]),
        ("0 0 31 * *", ["2026-01-31 00:00", "2026-03-31 00:00", "2026-05-31 00:00"]),
        ("5-5/20,50 0-0/1 * * *", ["2026-01-01 00:05", "2026-01-01 00:50", "2026-01-02 00:05"]),
        # Either day, as in every cron; both, if one of the two fields begins with *.
        ("0 0 13 * fri", ["2026-01-02 00:00", "2026-01-09 00:00", "2026-01-13 00:00"]),
        ("0 0 1-7 * */7", ["2026-01-04 00:00", "2026-02-01 00:00", "2026-03-01 00:00"]),
    ],
)
def test_what_an_expression_means(cron: str, expected: list[str]) -> None:
    assert after(cron, "2026-01-01 00:00", 3) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("@hourly", "2026-05-13 15:00"),
        ("@daily", "2026-05-14 00:00"),
        ("@midnight", "2026-05-14 00:00"),
        ("@weekly", "2026-05-17 00:00"),
        ("@monthly", "2026-06-01 00:00"),
        ("@yearly", "2027-01-01 00:00"),
        (" @Annually ", "2027-01-01 00:00"),
    ],
)
def test_a_word_stands_for_an_expression(word: str, expected: str) -> None:
    assert after(word, "2026-05-13 14:07", 1) == [expected]


def test_every_word_is_tested_above() -> None:
    assert len(WORDS) == 7


def test_equal_expressions_are_one() -> None:
    assert {Cron("0 0 * * SUN"), Cron(" 0  0 * * sun")} == {Cron("0 0 * * Sun")}
    assert Cron("@daily") == Cron("0 0 * * *") != Cron("0 1 * * *")
    assert Cron("@daily") != "0 0 * * *"
    assert repr(Cron("0 9 * * mon")) == "Cron('0 9 * * MON')"


def test_the_last_wall_time_before_another() -> None:
    cron = Cron("0 9 * * mon-fri")
    assert shown(cron.last_wall(wall("2026-01-05 09:00"))) == "2026-01-02 09:00"
    assert shown(cron.last_wall(wall("2026-01-05 09:01"))) == "2026-01-05 09:00"


def test_equal_fields_share_their_values() -> None:
    first, second = (Cron(text)._parsed for text in ("0 9 * * mon-fri", "30 9 * JAN MON-FRI"))
    assert first.hours is second.hours
    assert first.days is second.days
    assert first.weekdays is second.weekdays
    assert first.minutes != second.minutes
    assert first.months != second.months


@pytest.mark.parametrize(
    ("cron", "is_fixed"),
    [
        ("30 2 * * *", True),
        ("0,30 1-3 * * *", True),
        ("0/15 2 * * *", True),
        ("0-58 2 * * *", True),
        ("*/15 2 * * *", False),
        ("30 * * * *", False),
        ("30 */2 * * *", False),
        ("0-59 2 * * *", False),
        ("30 0-23 * * *", False),
        ("@daily", True),
        ("@hourly", False),
    ],
)
def test_whether_hours_and_minutes_are_fixed(cron: str, is_fixed: bool) -> None:
    assert Cron(cron).is_fixed is is_fixed


@pytest.mark.parametrize("cron", ["*/25 */11 * * *", "0 9 * 2 mon-fri", "59 23 L * *", "0 0 29 2 *", "0 0 1 1 *"])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2027-02-27 11:25", "2028-03-03 22:50"),
        ("2028-02-28 00:00", "2028-02-29 23:59"),
        ("2028-02-29 11:01", "2028-02-29 11:51"),
        ("2028-02-29 11:51", "2028-02-29 11:01"),
        ("2028-02-29 00:00", "2028-02-29 00:00"),
    ],
)
def test_counting_finds_as_many_as_visiting(cron: str, start: str, end: str) -> None:
    parsed, moment, visited = Cron(cron), wall(start) - 1, 0
    while (following := parsed.next_wall(moment)) is not None and following < wall(end):
        moment, visited = following, visited + 1
    assert parsed.count(wall(start), wall(end)) == visited


ORDER = "minute, hour, day of month, month, day of week"


@pytest.mark.parametrize(
    ("cron", "error"),
    [
        (
            "61 * * * *",
            "cron '61 * * * *': 61 is not between 0 and 59 in the field minute; write numbers from 0 to 59",
        ),
        (
            "0 0-24 * * *",
            "cron '0 0-24 * * *': 24 is not between 0 and 23 in the field hour; write numbers from 0 to 23",
        ),
        (
            "0 9 32 * *",
            "cron '0 9 32 * *': 32 is not between 1 and 31 in the field day of month; write numbers from 1 to 31",
        ),
        (
            "0 9 * 0 *",
            "cron '0 9 * 0 *': 0 is not between 1 and 12 in the field month; write numbers from 1 to 12",
        ),
        (
            "0 9 * * fri-mon",
            "cron '0 9 * * fri-mon': the range 'fri-mon' runs backward in the field day of week; "
            "write it as two: fri-sat,sun-mon",
        ),
        (
            "0 9 * * sat-sun",
            "cron '0 9 * * sat-sun': the range 'sat-sun' runs backward in the field day of week; "
            "write it as two: sat,sun",
        ),
        (
            "0 22-2 * * *",
            "cron '0 22-2 * * *': the range '22-2' runs backward in the field hour; write it as two: 22-23,0-2",
        ),
        (
            "0 9 * NOV-FEB *",
            "cron '0 9 * NOV-FEB *': the range 'NOV-FEB' runs backward in the field month; "
            "write it as two: NOV-DEC,JAN-FEB",
        ),
        (
            "0 9 * * monday",
            "cron '0 9 * * monday': 'monday' cannot be read in the field day of week; write *, random, numbers "
            "from 0 to 7 "
            "or names from sun to sat, lists (1,2), ranges (1-5), steps (*/2), 5L (the last Friday), "
            "2#2 (the second Tuesday)",
        ),
        (
            "0 9 15W * *",
            "cron '0 9 15W * *': '15W' cannot be read in the field day of month; write *, random, numbers "
            "from 1 to 31, "
            "lists (1,2), ranges (1-5), steps (*/2), L (the last day), LW (the last weekday)",
        ),
        ("0 9 ? * 1", "cron '0 9 ? * 1': '?' has no meaning in the field day of month; write *"),
        (
            "*/0 * * * *",
            "cron '*/0 * * * *': '*/0' has no step in the field minute; "
            "write the step as a number of 1 or more, such as */2",
        ),
        (
            "1,,2 * * * *",
            "cron '1,,2 * * * *': '1,,2' has an empty item in the field minute; remove the comma that is too many",
        ),
        ("", f"the cron is empty; write five fields: {ORDER}"),
        ("5", f"cron '5' has 1 field, not 5; write five fields: {ORDER}"),
        ("0 9 * *", f"cron '0 9 * *' has 4 fields, not 5; write five fields: {ORDER}"),
        (
            "0 0 9 * * *",
            f"cron '0 0 9 * * *' has 6 fields, not 5; write five fields: {ORDER}; "
            "there is none for seconds or years: drop it, and for seconds write every: 30s",
        ),
        (
            "0 0 30 2 *",
            "cron '0 0 30 2 *' names a date that never comes; "
            "choose a day that its months have, or L for the last of a month",
        ),
        (
            "0 0 LW * */7",
            "cron '0 0 LW * */7' names a date that never comes; "
            "choose a day that its months have, or L for the last of a month",
        ),
        (
            "0 0 */31 * 5L",
            "cron '0 0 */31 * 5L' names a date that never comes; "
            "choose a day that its months have, or L for the last of a month",
        ),
        ("@dayly", "cron '@dayly' is an unknown word; did you mean '@daily'?"),
        (
            "@reboot",
            f"cron '@reboot' is an unknown word; write one of: {', '.join(WORDS)}; or five fields: {ORDER}",
        ),
        ("@every 5m", "cron '@every 5m' is an interval; write every: 5m"),
        ("@every", "cron '@every' is an interval; write every: 30s"),
        ("1," * 200 + "1 * * * *", "a cron of 409 characters is too long; write at most 256"),
    ],
)
def test_a_mistake_is_named_with_its_field_and_its_remedy(cron: str, error: str) -> None:
    with pytest.raises(ValueError, match="cron") as caught:
        Cron(cron)
    assert str(caught.value) == error


def test_an_error_that_no_field_explains_is_shown_itself() -> None:
    assert str(explain_fields("* * * * *", "Bad luck")) == f"cron '* * * * *': Bad luck; write five fields: {ORDER}"
