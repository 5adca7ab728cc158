"""Charts: exact places, gaps for unknown numbers, one scale for numbers that are compared."""

from __future__ import annotations

import re

from tasuki.contracts.driver import Depth
from tasuki.desk.presentation.charts import heat_of, hour_of, messages_of, most_of, plot_of, spark, states
from tasuki.desk.reading.recent import QueuePast
from tasuki.desk.reading.snapshot import QueueRow
from tasuki.observe.history import Hour, Point

NEWEST = 1_000_000


def past_of(*points: Point) -> QueuePast:
    """The points are of the newest minutes, the last one of the newest."""
    hour = Hour()
    for ago, point in enumerate(reversed(points)):
        hour.add(NEWEST - ago, point)
    return QueuePast(hour, NEWEST)


def test_no_line_is_drawn_across_unknown_minutes() -> None:
    plot = plot_of({"published": [60, None, 60, 120], "done": [60, 60, None, 0], "failed": [0, None, 6, 0]}, 0.0)
    paths = dict(plot.paths)

    assert re.findall(r"M[\d. L]+", paths["published"]) == ["M0.5 36.0", "M2.5 36.0L3.5 4.0"]
    assert paths["done"] == "M0.5 36.0L1.5 36.0M3.5 68.0"
    assert paths["failed"].count("z") == 1
    assert [rates for _, rates in plot.rows] == [(1.0, 1.0, 0.0), (None, 1.0, None), (1.0, None, 0.1), (2.0, 0.0, 0.0)]


def test_minutes_since_the_last_known_one_are_unknown() -> None:
    lines = dict.fromkeys(("published", "done", "failed"), [1] * 60)
    plot = hour_of(lines, 3600.0, 3600.0 + 130)

    assert plot is not None
    assert (plot.known, plot.slots) == (60, 62)
    assert plot.rows[-1] == (3660.0, (None, None, None))
    assert hour_of(lines, None, 0.0) is None
    assert hour_of(dict.fromkeys(lines, [0] * 60), 3600.0, 3600.0) is None


def test_a_logarithm_shows_a_trickle_and_a_trickle_of_failures_stays_small() -> None:
    lines = {"published": [6000, 6], "done": [6000, 6], "failed": [1, 0]}
    plain, log = (dict(plot_of(lines, 0.0, is_log=is_log).paths)["done"] for is_log in (False, True))

    assert plain == "M0.5 4.0L1.5 67.9"
    assert log == "M0.5 4.0L1.5 53.7"
    assert plot_of(lines, 0.0).fails.value == 5.0
    assert [round(tick.at) for tick in plot_of(lines, 0.0, is_log=True).ys] == [68, 63, 50, 34, 17, 4]


def test_grid_lines_are_at_round_times() -> None:
    plot = plot_of(dict.fromkeys(("published", "done", "failed"), [1] * 60), 60 * 7.0)
    assert [tick.value / 60 for tick in plot.xs] == [10, 20, 30, 40, 50, 60]
    assert plot.xs[0].at == 5.0


def test_a_heat_map_has_each_bucket_of_each_minute() -> None:
    past = past_of(Point(run=[7, 1]), Point(), Point(run=[7, 31, 9, 1]))
    heat = heat_of(past, "run")

    assert heat is not None
    assert [(level, d) for level, d in heat.levels] == [(1, "M57 6h1v1h-1zM59 4h1v1h-1z"), (5, "M59 6h1v1h-1z")]
    assert heat.p95.count("M") == 2, "a gap where nothing ran"
    assert [count for _, count, _ in heat.rows][-3:] == [1, 0, 32]
    assert heat_of(past, "wait") is None


def test_sparklines_of_a_table_have_one_scale() -> None:
    small, large = past_of(Point(done=10, failed=1)), past_of(Point(done=100))
    rows = [QueueRow(str(place), "d", None, past=past) for place, past in enumerate((small, large))]
    most = most_of(rows)

    assert most == 100
    assert spark(small, most) == [("done", "M0 20h116l2 -2"), ("failed", "M118 22v-5h1.6v5z")]
    assert spark(large, most) == [("done", "M0 20h116l2 -19")]


def test_three_dead_letters_beside_a_thousand_ready_messages_are_seen() -> None:
    row = QueueRow("a", "d", Depth(ready=1100, in_flight=0, delayed=0), dead=3)
    found = states(row, messages_of([row]))

    assert [name for name, _, _ in found] == ["ready", "dead"]
    assert found[1][2] > 2
    assert 98 < sum(width for _, _, width in found) <= 100
    assert states(QueueRow("b", "d", None), 0) == []
