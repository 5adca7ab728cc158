import time

from tasuki.clock import Clock, SystemClock


def test_the_system_clock_is_a_clock() -> None:
    clock: Clock = SystemClock()
    assert abs(clock.time() - time.time()) < 60
    assert abs(clock.monotonic() - time.monotonic()) < 60


def test_boottime_does_not_go_back_and_is_not_less_than_the_monotonic_clock() -> None:
    clock = SystemClock()
    first, second = clock.boottime(), clock.boottime()
    assert first <= second
    assert second >= clock.monotonic() - 60
