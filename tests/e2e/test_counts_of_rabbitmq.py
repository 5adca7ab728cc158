"""RabbitMQ tells ready messages alone: the other numbers come from all processes, or are unknown, on every face."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasuki import App, Envelope
from tasuki.app.measuring.depths import DepthReader
from tasuki.cli.output import UNKNOWN
from tasuki.desk.desk import alone
from tasuki.desk.security.access import Access
from tasuki.observe.exposition.text import respond
from tests.e2e.test_consumer_count import STATE
from tests.e2e.test_pausing import Fleet
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.process import run, run_json, wait_until

pytestmark = pytest.mark.e2e

HELD, DELAYED, AN_HOUR = 7, 32, 3600.0


def fleet_with_state(folder: Path, stack: ExitStack) -> Fleet:
    fleet = Fleet("amqp", folder, stack)
    (fleet.folder / "state.yaml").write_text(STATE.format(path=folder / "state.db"))
    fleet.changes.append("app:driver:state=app:state")
    fleet.options.append("--override=app:driver:state=app:state")
    return fleet


def row_of(fleet: Fleet) -> dict[str, Any]:
    rows = run_json("queues", *fleet.options, folder=fleet.folder)
    (row,) = [row for row in rows if row["queue"] == "app:tasks"]
    return dict(row)


def numbers(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in ("ready", "in_flight", "delayed", "is_estimate"))


def at_the_broker(fleet: Fleet) -> tuple[int, int]:
    """Ready and unsettled messages, as RabbitMQ's own tool counts them."""
    name = next(each for each in fleet.changes if each.startswith("app:tasks:queue_name=")).partition("=")[2]
    table = RabbitMQ.shared().control("list_queues", "--silent", "name", "messages_ready", "messages_unacknowledged")
    rows = [line.split("\t") for line in table.splitlines()]
    mine = [row for row in rows if row[0] == name or row[0].startswith(f"{name}.")]
    return sum(int(row[1]) for row in mine), sum(int(row[2]) for row in mine)


async def faces(fleet: Fleet) -> dict[str, tuple[Any, ...]]:
    """The same queue in the API of the desk, in Python, and in the metrics."""
    desk = alone(App.load(fleet.folder, overrides=fleet.changes), Access(is_open=True))
    await desk.site.open()
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(desk), base_url="http://localhost") as client:
            (answer,) = [
                each for each in (await client.get("/api/v1/queues")).json()["items"] if each["id"] == "app:tasks"
            ]
            page = (await client.get("/queues/app:tasks", headers={"accept": "text/html"})).text
    finally:
        await desk.close()
    async with App.load(fleet.folder, overrides=fleet.changes) as app:
        depth = await app._runtime.queue("tasks").depth()
        reader = DepthReader(app._runtime)
        await reader.read()
        read = reader.known()["app:tasks"].depth
        await reader.stop()
        return {
            "api": numbers(answer),
            "page": (f"~{answer['in_flight']}<" in page, f"~{answer['delayed']}<" in page),
            "python": (depth.ready, depth.in_flight, depth.delayed, depth.is_estimate),
            "metrics": (read.ready, read.in_flight, read.delayed, read.is_estimate),
        }


def delay_some(fleet: Fleet) -> None:
    """As a process that only publishes, and ends."""

    async def publish(app: App) -> None:
        await app._runtime.queue("tasks").publish_many(
            [Envelope(body=number, delay=AN_HOUR) for number in range(DELAYED)]
        )

    fleet.act(publish)


def test_held_and_delayed_messages_of_all_processes_are_counted(tmp_path: Path) -> None:
    with ExitStack() as stack:
        fleet = fleet_with_state(tmp_path, stack)
        fleet.worker()
        fleet.publish(*range(HELD))
        delay_some(fleet)
        wait_until(lambda: row_of(fleet)["in_flight"] == HELD, "the sign of the worker")
        row = row_of(fleet)
        assert numbers(row) == (0, HELD, DELAYED, True)
        assert row["message_count"] == HELD + DELAYED
        assert at_the_broker(fleet) == (0, HELD)
        seen = asyncio.run(faces(fleet))
        assert seen.pop("page") == (True, True)
        assert set(seen.values()) == {(0, HELD, DELAYED, True)}, seen

        assert fleet.act(lambda app: app._runtime.queue("tasks").purge()) == DELAYED
        assert numbers(row_of(fleet)) == (0, HELD, None, True), "a purge makes the notes before it worth nothing"
        fleet.go()
        wait_until(lambda: row_of(fleet)["in_flight"] == 0, "the next sign")


def test_numbers_that_no_state_tells_are_unknown(tmp_path: Path) -> None:
    with ExitStack() as stack:
        fleet = Fleet("amqp", tmp_path, stack)
        fleet.worker()
        fleet.publish(*range(HELD))
        delay_some(fleet)
        wait_until(lambda: at_the_broker(fleet) == (0, HELD), "the worker")
        row = row_of(fleet)
        assert numbers(row) == (0, None, None, None)
        assert row["message_count"] is None
        shown = run("queues", *fleet.options, folder=fleet.folder).stdout
        (line,) = [line for line in shown.splitlines() if line.startswith("app:tasks")]
        assert line.split()[2:6] == [UNKNOWN, "0", UNKNOWN, UNKNOWN], shown

        async def metrics(app: App) -> str:
            reader = app._runtime.metrics.depths
            await reader.read()
            text = respond(app.metrics.snapshot())[1].decode()
            await reader.stop()
            return text

        lines = [line for line in fleet.act(metrics).splitlines() if line.startswith("tasuki_queue_messages")]
        assert any('state="ready"' in line for line in lines), lines
        assert not any('state="in_flight"' in line or 'state="delayed"' in line for line in lines), lines
        fleet.go()
