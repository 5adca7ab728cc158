"""The sum over processes that come and go."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.cli.worker.fleet_metrics import FleetMetrics
from tasuki.observe.exposition.text import exposition
from tasuki.supervisor.children.asking import Answer, Children
from tests.unit.observe.exposition.samples import parsed, snapshot, value

pytestmark = pytest.mark.anyio


class Asked(Children):
    """Children whose answers the test gives."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[int, Answer] = {}

    async def ask(self, name: str, *args: Any, **named: Any) -> dict[int, Answer]:
        assert name == "metrics"
        return self.answers


def counted(acked: int, born: str) -> Answer:
    found = snapshot() | {"born": born}
    found["consumers"]["app:q0.consumer"]["acked"] = acked
    return Answer(found)


async def acked(fleet: FleetMetrics) -> float:
    found = parsed(exposition(await fleet.snapshot()))
    return value(found, "tasuki_messages_settled_total", result="acked")


async def test_no_counter_falls_when_a_process_ends() -> None:
    children = Asked()
    fleet = FleetMetrics(children)
    children.answers = {1: counted(5, "a"), 2: counted(7, "b")}
    assert await acked(fleet) == 12
    fleet.ended(1, {"metrics": counted(6, "a")})
    del children.answers[1]
    assert await acked(fleet) == 13, "with what it reported at its end"
    children.answers[1] = counted(1, "c")
    assert await acked(fleet) == 14
    found = parsed(exposition(await fleet.snapshot()))
    assert value(found, "tasuki_handlers_running") == 2


async def test_a_process_that_executes_itself_again_counts_on() -> None:
    children = Asked()
    fleet = FleetMetrics(children)
    children.answers = {1: counted(5, "a")}
    assert await acked(fleet) == 5
    children.answers = {1: counted(1, "later")}
    assert await acked(fleet) == 6


async def test_a_silent_process_counts_with_its_last_snapshot() -> None:
    children = Asked()
    fleet = FleetMetrics(children)
    children.answers = {1: counted(5, "a"), 2: Answer(None, problem="it has not answered for 1 s")}
    assert await acked(fleet) == 5
    children.answers[1] = Answer(children.answers[1].value, problem="it has not answered for 1 s")
    assert await acked(fleet) == 5
    fleet.ended(2, {})


async def test_processes_that_have_not_begun_are_no_error() -> None:
    found = parsed(exposition(await FleetMetrics(Asked()).snapshot()))
    assert value(found, "process_resident_memory_bytes") > 0
    assert value(found, "tasuki_build_info") == 1
