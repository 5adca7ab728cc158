"""The sum over processes that come and go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.cli.worker.fleet_reports import FleetMetrics
from tasuki.observe.exposition.snapshots import Snapshot
from tasuki.observe.exposition.text import exposition
from tasuki.supervisor.children.asking import ChildAnswer, Children
from tests.unit.observe.exposition.samples import parsed, snapshot, value

pytestmark = pytest.mark.anyio


class Asked(Children):
    """Children whose snapshots the test gives; None: no answer comes."""

    def __init__(self) -> None:
        super().__init__()
        self.snapshots: dict[int, Snapshot | None] = {}
        self.waiting = asyncio.Event()
        self.waiting.set()

    async def ask(self, name: str, *args: Any, **named: Any) -> dict[int, ChildAnswer]:
        found = {number: ChildAnswer(one) for number, one in self.snapshots.items()}
        for number, answer in found.items():
            if answer.value is not None:
                self.on_answer(number, name, answer.value)
        await self.waiting.wait()
        return found


def counted(acked: int, born: str) -> Snapshot:
    found = snapshot() | {"born": born}
    found["consumers"]["app:q0.consumer"]["acked"] = acked
    return found


async def acked(fleet: FleetMetrics) -> float:
    found = parsed(exposition(await fleet.snapshot()))
    return value(found, "tasuki_messages_settled_total", result="acked")


async def test_no_counter_falls_when_a_process_ends() -> None:
    children = Asked()
    fleet = FleetMetrics(children)
    children.snapshots = {1: counted(5, "a"), 2: counted(7, "b")}
    assert await acked(fleet) == 12
    children.on_answer(1, "metrics", counted(6, "a"))
    del children.snapshots[1]
    assert await acked(fleet) == 13, "with what it reported at its end"
    children.on_end(1)
    assert await acked(fleet) == 13
    children.snapshots[1] = counted(1, "c")
    assert await acked(fleet) == 14
    found = parsed(exposition(await fleet.snapshot()))
    assert value(found, "tasuki_handlers_running") == 2


async def test_a_process_that_ends_while_another_one_is_waited_for_counts_once() -> None:
    children = Asked()
    fleet = FleetMetrics(children)
    children.snapshots = {1: counted(5, "a"), 2: None}
    children.waiting.clear()
    asked = asyncio.create_task(acked(fleet))
    await asyncio.sleep(0)
    children.on_end(1)
    del children.snapshots[1]
    children.waiting.set()
    assert await asked == 5
    children.snapshots[1] = counted(1, "b")
    assert await acked(fleet) == 6


async def test_a_process_that_executes_itself_again_counts_on() -> None:
    children = Asked()
    fleet = FleetMetrics(children)
    children.snapshots = {1: counted(5, "a")}
    assert await acked(fleet) == 5
    children.on_answer(1, "metrics", counted(8, "a"))  # its report at the end of the old program
    children.on_answer(1, "health", {})
    children.snapshots = {1: counted(1, "later")}
    assert await acked(fleet) == 9


async def test_a_silent_process_counts_with_its_last_snapshot() -> None:
    children = Asked()
    fleet = FleetMetrics(children)
    children.snapshots = {1: counted(5, "a"), 2: None}
    assert await acked(fleet) == 5
    children.snapshots[1] = None
    assert await acked(fleet) == 5
    children.on_end(2)


async def test_processes_that_have_not_begun_are_no_error() -> None:
    found = parsed(exposition(await FleetMetrics(Asked()).snapshot()))
    assert value(found, "process_resident_memory_bytes") > 0
    assert value(found, "tasuki_build_info") == 1
