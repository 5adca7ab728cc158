"""Borrowing on brokers that cannot show messages: all letters are seen, keep their order, and count no attempt."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tasuki import App
from tasuki.contracts.driver import Ack, Outgoing, Received
from tests.support.brokers.everywhere import overrides
from tests.support.process import Process

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: driver, kind: queue.driver.sqlite}
  - {name: tasks, kind: queue.queue, driver: driver, queue_name: %(id)s_tasks, dead_letter: {queue: dead}}
  - {name: dead, kind: queue.queue, driver: driver, queue_name: %(id)s_dead, lease: 4s}
"""
BORROWER = """
import asyncio, sys
from tasuki import App
from tasuki.dead import peek_by_receive

async def stay(source, found):
    print("borrowed", len(found), file=sys.stderr)
    await asyncio.sleep(600)

peek_by_receive._release = stay

async def main():
    app = App.load(sys.argv[1], overrides=sys.argv[2:])
    async with app._runtime.reading():
        await app.dead.letters()

asyncio.run(main())
"""
COUNT = 120


def load(folder: Path, driver: str) -> App:
    return App.load(folder, overrides=overrides(driver, "app:driver", folder))


@pytest.fixture(params=["amqp", "sqs"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "_index.yaml").write_text(PROJECT % {"id": f"b{uuid4().hex[:8]}"})
    return tmp_path


async def bury(app: App, count: int = COUNT) -> list[str]:
    """Ids of letters in their order."""
    ids = [f"letter-{number:04}" for number in range(count)]
    headers = {"x_original_queue": "app:tasks", "x_dead_letter_reason": "rejected", "x_last_error": "KeyError: 'a'"}
    for start_ in range(0, count, 10):
        batch = [Outgoing(id, b"{}", dict(headers)) for id in ids[start_ : start_ + 10]]
        assert not any(await app._runtime.queue("app:dead").forward(batch))
    return ids


async def take(app: App, count: int) -> list[Received]:
    """The letters as the next receiver gets them, acked."""
    queue, found = app._runtime.queue("app:dead"), list[Received]()
    async with asyncio.timeout(60):
        while len(found) < count:
            batch = await queue.driver.receive(queue.spec.name, 10, 1.0)
            await queue.driver.settle(queue.spec.name, [Ack(each.receipt) for each in batch])
            found += batch
    return found


async def test_borrowed_letters_stay_in_order_and_count_no_attempt(driver: str, folder: Path) -> None:
    async with load(folder, driver) as app:
        ids = await bury(app)
        for _ in range(2):
            found = await app.dead.letters()
            assert sorted(letter.id for letter in found.letters) == ids
            assert (found.unseen, found.borrowed) == ({}, {"app:dead": COUNT})
            assert found.groups[0].type == "KeyError"
        taken = await take(app, COUNT)
        assert {received.attempt for received in taken} == {1}
        if driver == "amqp":
            assert [received.id for received in taken] == ids
        await app._runtime.queue("app:dead").delete()
        await app._runtime.queue("app:tasks").delete()


async def test_a_killed_borrower_loses_nothing(driver: str, folder: Path) -> None:
    async with load(folder, driver) as app:
        ids = await bury(app, 20)
        (folder / "borrower.py").write_text(BORROWER)
        command = [sys.executable, "borrower.py", str(folder), *overrides(driver, "app:driver", folder)]
        process = Process((), folder, command=command)
        try:
            await asyncio.to_thread(process.wait_for, "borrowed 20", timeout=60)
            process.send(signal.SIGKILL)
            await asyncio.to_thread(process.wait)
            assert sorted(received.id for received in await take(app, 20)) == ids
        finally:
            process.kill()
        await app._runtime.queue("app:dead").delete()
        await app._runtime.queue("app:tasks").delete()
