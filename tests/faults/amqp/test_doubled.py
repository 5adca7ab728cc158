"""RabbitMQ: a worker that dies between the copy of a postponed message and its ack leaves two, and loses none.

A pause (``context.sleep``, ``wait_for``), a retry with a delay and a snooze store a copy in a delay queue, and ack the
message once the copy is confirmed. So these tests say what a kill between the two costs: tests/faults/test_waits.py
relies on it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from tasuki import App
from tasuki.contracts.driver import Ack, Nack, QueueSpec, Release
from tasuki.drivers.amqp.receiving.settling import PutOff, Settling
from tasuki.errors import DriverError
from tasuki.testing.proxy import Proxy
from tests.e2e.projects import write
from tests.faults.amqp.rig import driver_at
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import messages, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

MESSAGES = 6
PROJECT = """\
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.amqp}
  - {name: other, kind: queue.driver.sqlite, path: state.db}
  - {name: state, kind: store.sqlite, driver: other}
  - {name: tasks, kind: queue.queue, driver: driver, state: state}
  - {name: handle, kind: function.python, source: file://work.py, method: handle}
  - {name: worker, kind: queue.consumer, queue: tasks, func: handle, concurrency: 1, lifecycle: {auto_start: true}}
"""
WORK = """\
import json

from tasuki import Context


def note(name):
    with open("history", "a") as file:
        file.write(json.dumps(name) + "\\n")


async def handle(body: int, context: Context) -> None:
    await context.step("begin", note, f"begin {body}")
    await context.sleep(0.5)
    await context.step("end", note, f"end {body}")
    note(f"done {body}")
"""
DIES = """\
import os, runpy, signal, sys

from tasuki.drivers.amqp.receiving.settling import Settling

put_off = Settling._put_off


async def die(self, spec, moves):
    await put_off(self, spec, moves)
    assert all(each.delivery.is_moved for each in moves)
    print(len(moves), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


Settling._put_off = die
sys.argv[0] = "tasuki"
runpy.run_module("tasuki", run_name="__main__")
"""


@pytest.mark.parametrize("kind", [Release, Nack])
async def test_a_cut_between_the_copy_and_the_ack_makes_two_of_one(
    broker: RabbitMQ, proxy: Proxy, queue: str, kind: type[Release | Nack], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_off = Settling._put_off

    async def then_cut(self: Settling, spec: QueueSpec, moves: Sequence[PutOff]) -> None:
        await put_off(self, spec, moves)
        assert all(each.delivery.is_moved for each in moves)
        proxy.refuse()

    spec = QueueSpec(queue)
    async with driver_at(proxy.port, spec) as dying:
        await dying.publish(queue, messages("a"))
        (got,) = await take(dying, queue)
        monkeypatch.setattr(Settling, "_put_off", then_cut)
        with pytest.raises(DriverError):
            await dying.settle(queue, [kind(got.receipt, 1.0)])
        monkeypatch.undo()
        async with driver_at(broker.port, spec) as other:
            both = await take(other, queue, 2)
            assert [each.id for each in both] == ["a", "a"]
            assert sorted(each.attempt for each in both) == [1, 2 if kind is Nack else 1]
            assert not await other.settle(queue, [Ack(each.receipt) for each in both])
            assert not await other.receive(queue, 1, 2.0)


async def test_a_kill_there_repeats_each_step_once_at_most(broker: RabbitMQ, tmp_path: Path) -> None:
    """One worker handles both of a message one after the other; each of them finds the steps of the other, or none."""
    folder = write(tmp_path, {"_index.yaml": PROJECT, "work.py": WORK, "dies.py": DIES})
    changes = [f"app:driver:url={broker.url}", f"app:tasks:queue_name=tasks_{uuid4().hex[:8]}"]
    options = [f"--override={change}" for change in changes]
    async with App.load(folder, overrides=changes) as app:
        tasks = app.queue("app:tasks")
        await tasks.publish_many(list(range(MESSAGES)))
        command = [sys.executable, "dies.py", "run", *options]
        killed = await asyncio.to_thread(subprocess.run, command, cwd=folder, timeout=60, capture_output=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        doubled = int(killed.stdout)
        assert doubled
        command = [sys.executable, "-m", "tasuki", "run", *options]
        with subprocess.Popen(command, cwd=folder, env=dict(os.environ)) as worker:
            try:
                async with asyncio.timeout(60):
                    while history(folder)["done"] < MESSAGES + doubled:
                        await asyncio.sleep(0.05)
            finally:
                worker.terminate()
        async with asyncio.timeout(60):  # a quorum queue counts its acks a moment later
            while (await tasks.info())["message_count"]:
                await asyncio.sleep(0.05)
    runs = Counter(json.loads(line) for line in (folder / "history").read_text().splitlines())
    assert all(runs[f"{step} {body}"] in (1, 2) for step in ("begin", "end") for body in range(MESSAGES)), runs
    assert sum(runs[f"done {body}"] == 2 for body in range(MESSAGES)) == doubled


def history(folder: Path) -> Counter[str]:
    """How many steps, and ends of handlers, there have been."""
    file = folder / "history"
    lines = file.read_text().splitlines() if file.exists() else []
    return Counter(json.loads(line).partition(" ")[0] for line in lines)
