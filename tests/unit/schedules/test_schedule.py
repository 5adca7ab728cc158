from datetime import UTC, datetime
from itertools import islice

import pytest

from tasuki.schedules.schedule import Schedule, Tick, is_spread, share, spread
from tasuki.schedules.timing import (
    Every,
    count_ticks,
    cron_timing,
    every_timing,
    last_tick,
    next_tick,
    nth_last_tick,
    ticks,
    ticks_back,
)


def test_a_tick_has_one_message_id_and_one_time_on_every_worker() -> None:
    tick = Tick(Schedule("app:nightly", Every(60), jitter=30.0), 1778673600)
    assert tick.message_id == "schedule:app:nightly:1778673600"
    assert tick.ready_at == pytest.approx(1778673600 + share("", "app:nightly", "1778673600") * 30)
    assert tick.ready_at == 1778673621.9342034


def test_without_jitter_a_message_is_ready_at_its_tick() -> None:
    assert Tick(Schedule("app:nightly", Every(60)), 60).ready_at == 60


@pytest.mark.parametrize("vary", ["id", "tick", "installation"])
def test_jitter_is_spread_evenly_over_ids_ticks_and_installations(vary: str) -> None:
    def delay(number: int) -> float:
        id, salt = f"app:{number if vary == 'id' else 'nightly'}", f"{number if vary == 'installation' else ''}"
        return Tick(Schedule(id, Every(60), jitter=10.0, salt=salt), 60 * number if vary == "tick" else 60).ready_at

    delays = [(delay(number) - (60 * number if vary == "tick" else 60)) for number in range(2000)]
    assert all(0 <= delay < 10 for delay in delays)
    tenths = [sum(place <= delay < place + 1 for delay in delays) for place in range(10)]
    assert 150 < min(tenths) < max(tenths) < 250


def test_a_random_field_is_one_value_for_a_schedule_of_an_installation() -> None:
    found = {spread("random random * * RANDOM", "app:sync", str(salt)) for salt in range(500)}
    assert len(found) > 450
    fields = [set(values) for values in zip(*(each.split() for each in found), strict=True)]
    assert {int(each) for each in fields[0]} == set(range(60))
    assert {int(each) for each in fields[1]} == set(range(24))
    assert (fields[2], fields[3], {int(each) for each in fields[4]}) == ({"*"}, {"*"}, set(range(7)))
    assert spread("random 3 * * *", "app:a", "s") == spread("random 3 * * *", "app:a", "s")
    assert {spread("0 0 random random *", "a", str(salt)).split()[2] for salt in range(500)} == {
        *map(str, range(1, 29))
    }


def test_an_expression_without_one_stays_as_it_is() -> None:
    assert not is_spread("0 9 * * mon-fri")
    for text in ("0 9 * * mon-fri", "@daily", "random 3 *"):
        assert spread(text, "app:a", "s") == text


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text + "Z").timestamp())


def test_an_interval_counts_from_the_epoch() -> None:
    assert list(ticks(Every(30), 59, 120)) == [60, 90, 120]
    assert list(ticks(Every(30), 60, 119)) == [90]
    assert list(ticks_back(Every(30), 120, 59)) == [120, 90, 60]
    assert (next_tick(Every(7), 700_000_001), last_tick(Every(7), 700_000_001)) == (700_000_007, 700_000_000)
    assert next_tick(Every(7), 700_000_000) == 700_000_007
    assert last_tick(Every(7), 700_000_000) == 700_000_000


def test_counting_an_interval() -> None:
    for after in range(-3, 12):
        for until in range(-3, 12):
            assert count_ticks(Every(3), after, until) == len(list(ticks(Every(3), after, until)))


@pytest.mark.parametrize(("every", "seconds"), [("30s", 30), ("1h30m", 5400), (1, 1), (60.0, 60), ("1000ms", 1)])
def test_an_interval_is_a_duration(every: object, seconds: int) -> None:
    assert every_timing(every) == Every(seconds)


@pytest.mark.parametrize(
    ("every", "error"),
    [
        ("500ms", "every 500ms is not 1 or more whole seconds; write it like 30s or 1h30m"),
        (0, "every 0s is not 1 or more whole seconds; write it like 30s or 1h30m"),
        ("1.5s", "every 1.5s is not 1 or more whole seconds; write it like 30s or 1h30m"),
        ("often", "'often' is not a duration; write it like 500ms, 30s or 1h30m"),
    ],
)
def test_an_interval_that_is_none_is_refused(every: object, error: str) -> None:
    with pytest.raises(ValueError, match="write it like") as caught:
        every_timing(every)
    assert str(caught.value) == error


def test_a_cron_ticks_by_the_clocks_of_its_zone() -> None:
    nine = cron_timing("0 9 * * mon-fri", "Asia/Tokyo")
    friday, monday = utc("2026-05-15T00:00"), utc("2026-05-18T00:00")
    assert next_tick(nine, friday) == monday
    assert next_tick(nine, friday - 1) == friday
    assert last_tick(nine, monday - 1) == friday
    assert last_tick(nine, monday) == monday
    assert next_tick(cron_timing("0 9 * * mon-fri"), friday) == utc("2026-05-15T09:00")


def test_ticks_are_found_while_they_are_read() -> None:
    assert list(islice(ticks(cron_timing("* * * * *", "Europe/London"), utc("2026-01-01T00:00"), 10**15), 2)) == [
        utc("2026-01-01T00:01"),
        utc("2026-01-01T00:02"),
    ]


def test_a_leap_day_in_a_zone() -> None:
    leap = cron_timing("30 2 29 2 *", "Europe/Berlin")
    assert next_tick(leap, utc("2096-03-01T00:00")) == utc("2104-02-29T01:30")  # 2100 is no leap year
    assert last_tick(leap, utc("2104-02-29T01:29")) == utc("2096-02-29T01:30")
    assert last_tick(leap, utc("1971-01-01T00:00")) is None


def test_the_ends_of_time() -> None:
    assert next_tick(Every(10), -100) == 0
    assert last_tick(Every(10), -1) is None
    assert next_tick(cron_timing("@yearly"), -(10**12)) == 0
    assert next_tick(cron_timing("@yearly", "Europe/Berlin"), 10**15) is None
    assert next_tick(Every(10), 10**15) is None
    newest = last_tick(cron_timing("@yearly", "Europe/Berlin"), 10**15)
    assert newest is not None
    assert f"{datetime.fromtimestamp(newest, UTC):%Y-%m-%d %H:%M}" == "8999-12-31 23:00"


def test_the_tick_with_so_many_behind_it() -> None:
    assert nth_last_tick(Every(10), 3, 0, 100) == 80
    assert nth_last_tick(Every(10), 3, 79, 100) == 80
    assert nth_last_tick(Every(10), 3, 80, 100) is None


def test_a_cron_without_another_time_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    timing = cron_timing("@daily", "Europe/Berlin")
    monkeypatch.setattr(type(timing.cron), "next_wall", lambda *_: None)
    monkeypatch.setattr(type(timing.cron), "last_wall", lambda *_: None)
    assert next_tick(timing, 0) is last_tick(timing, 10**15) is None


def test_counting_years_of_minutes_visits_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    timing = cron_timing("* * * * *", "Europe/Berlin")
    monkeypatch.setattr(type(timing.cron), "next_wall", None)
    ten_years = utc("2036-01-01T00:00") - utc("2026-01-01T00:00")
    assert count_ticks(timing, utc("2026-01-01T00:00"), utc("2036-01-01T00:00")) == ten_years // 60


def test_equal_texts_are_parsed_once() -> None:
    assert cron_timing("7 7 * * *", "Asia/Tokyo") is cron_timing("7 7 * * *", "Asia/Tokyo")


def test_equal_timings_are_one() -> None:
    assert cron_timing("@daily", "Asia/Tokyo") == cron_timing("0 0 * * *", "Asia/Tokyo")
    assert cron_timing("@daily", "Asia/Tokyo") != cron_timing("@daily", "Asia/Seoul")
    assert len({Every(30), Every(30), cron_timing("@daily"), cron_timing("0 0 * * *")}) == 2
