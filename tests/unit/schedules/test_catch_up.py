from datetime import datetime

import pytest

from tasuki.schedules.schedule import CatchUp
from tasuki.schedules.times.timing import Every, Timing, cron_timing, ticks
from tasuki.schedules.wheel import begin, dropped

NOW = int(datetime.fromisoformat("2026-05-13T12:00:30Z").timestamp())
MINUTELY = cron_timing("* * * * *", "Asia/Tokyo")


def published(timing: Timing, catch_up: CatchUp, mark: int, now: int = NOW) -> list[int]:
    """Seconds before now."""
    return [now - tick for tick in ticks(timing, begin(timing, catch_up, mark, now), now)]


@pytest.mark.parametrize("timing", [MINUTELY, Every(60)])
def test_of_ten_minutes_without_a_worker(timing: Timing) -> None:
    mark = NOW - 600
    assert published(timing, "skip", mark) == [30]
    assert published(timing, "one", mark) == [30]
    assert published(timing, "all", mark) == [570, 510, 450, 390, 330, 270, 210, 150, 90, 30]
    assert [dropped(timing, catch_up, mark, NOW) for catch_up in ("skip", "one", "all")] == [9, 9, 0]


def test_skip_drops_what_is_older_than_a_minute() -> None:
    assert published(Every(30), "skip", NOW - 1000) == [60, 30, 0]
    assert published(cron_timing("@daily"), "skip", NOW - 86400) == []
    assert dropped(cron_timing("@daily"), "skip", NOW - 86400, NOW) == 1


def test_one_is_the_latest_however_old() -> None:
    assert published(cron_timing("@yearly"), "one", NOW - 10 * 366 * 86400) == [NOW - 1767225600]
    assert dropped(cron_timing("@yearly"), "one", NOW - 10 * 366 * 86400, NOW) == 9


def test_all_is_a_thousand_of_them() -> None:
    year = NOW - 365 * 86400
    assert len(published(MINUTELY, "all", year)) == 1000
    assert published(MINUTELY, "all", year)[-1] == 30
    assert dropped(MINUTELY, "all", year, NOW) == 365 * 1440 - 1000
    assert len(published(Every(1), "all", NOW - 1000)) == 1000
    assert dropped(Every(1), "all", NOW - 1000, NOW) == 0


@pytest.mark.parametrize("catch_up", ["skip", "one", "all"])
def test_nothing_until_the_mark_is_published_again(catch_up: CatchUp) -> None:
    assert published(MINUTELY, catch_up, NOW - 30) == []
    assert published(MINUTELY, catch_up, NOW - 31) == [30]
    assert published(MINUTELY, catch_up, NOW + 100) == []
    assert dropped(MINUTELY, catch_up, NOW - 31, NOW) == dropped(MINUTELY, catch_up, NOW + 100, NOW) == 0
