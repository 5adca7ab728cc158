from tasuki.schedules.schedule import Schedule, Tick, jitter
from tasuki.schedules.times.timing import Every


def test_a_tick_has_one_message_id_and_one_time_on_every_worker() -> None:
    tick = Tick(Schedule("app:nightly", Every(60), jitter=30.0), 1778673600)
    assert tick.message_id == "schedule:app:nightly:1778673600"
    assert tick.ready_at == 1778673600 + jitter("app:nightly", 1778673600, 30.0) == 1778673619.0070367


def test_without_jitter_a_message_is_ready_at_its_tick() -> None:
    assert Tick(Schedule("app:nightly", Every(60)), 60).ready_at == 60


def test_jitter_is_spread_evenly_over_ids_and_over_ticks() -> None:
    for delays in (
        [jitter(f"app:{number}", 1778673600, 10.0) for number in range(2000)],
        [jitter("app:nightly", 60 * number, 10.0) for number in range(2000)],
    ):
        assert all(0 <= delay < 10 for delay in delays)
        tenths = [sum(place <= delay < place + 1 for delay in delays) for place in range(10)]
        assert 150 < min(tenths) < max(tenths) < 250
