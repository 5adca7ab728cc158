import pytest

from tasuki.schedules.schedule import Schedule, Tick, is_spread, share, spread
from tasuki.schedules.times.timing import Every


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
