"""The ready messages of the last refreshes, and the parts that need no screen."""

from __future__ import annotations

from dataclasses import replace

from tasuki.contracts.driver import Depth
from tasuki.desk.reading.snapshot import QueueRow, Snapshot
from tasuki.top.trends import POINTS, Trends
from tasuki.top.views.ids import short_id


def snapshot(taken: float, **ready: int) -> Snapshot:
    rows = {id: QueueRow(id, "main", Depth(count, 0, 0)) for id, count in ready.items()}
    return Snapshot(taken, 0.0, rows)


def test_a_trend_has_the_newest_counts_once() -> None:
    trends = Trends()
    for taken in range(POINTS + 4):
        trends.note(snapshot(float(taken), mail=taken))
        trends.note(snapshot(float(taken), mail=99))

    assert list(trends.of("mail")) == list(range(4, POINTS + 4))
    assert list(trends.of("other")) == []


def test_a_queue_that_has_gone_is_forgotten_and_an_unknown_count_is_left_out() -> None:
    trends = Trends()
    trends.note(snapshot(1.0, mail=1, image=2))
    unknown = snapshot(2.0, mail=3)
    trends.note(replace(unknown, queues={"mail": QueueRow("mail", "main", None)}))

    assert list(trends.of("mail")) == [1]
    assert list(trends.of("image")) == []


def test_an_id_of_ours_is_known_by_its_middle() -> None:
    assert short_id("01a224a9-9fc2-72cc-bafe-ab643ff8fc58") == "9fc2-72cc"
    assert short_id("invoice-7\x1b") == "invoice-7\\x1b"
