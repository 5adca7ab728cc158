"""Reply queues: one for each app, or a declared one; what becomes of replies and queues of apps that are gone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import LifecycleError, QueueNotFoundError, StopTimeoutError, UnsupportedError
from tests.support.narrow import instance
from tests.unit.app.doubling import Make, double

pytestmark = pytest.mark.anyio

VIRTUAL_TIME = True


def foreign_id(number: int) -> str:
    return f"reply:{number:032x}"


async def ask_as(app: App, number: int) -> None:
    """Publish a request as another process does, and wait until it is handled."""
    consumer = app._runtime.assembly.consumers["app:handle_tasks.consumer"]  # type: ignore[union-attr]
    before = consumer.metrics.acked
    await app.publish("tasks", number, {"reply_to": foreign_id(number), "correlation_id": "c"})
    while consumer.metrics.acked == before:
        await asyncio.sleep(0.01)


async def test_a_reply_never_makes_the_queue_of_a_requester_that_is_gone(
    make_app: Make, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    double(app)
    async with app.worker():
        driver: Any = next(iter(app._runtime.assembly.drivers.values()))  # type: ignore[union-attr]
        metrics = app._runtime.assembly.consumers["app:handle_tasks.consumer"].metrics  # type: ignore[union-attr]
        name = foreign_id(7).replace(":", ".")
        await driver.declare(QueueSpec(name, temporary=True))
        await ask_as(app, 7)
        assert (metrics.replied, metrics.requesters_gone) == (1, 0)
        await driver.delete(name)
        for number in (7, 7, 8):
            await ask_as(app, number)
        assert (metrics.replied, metrics.requesters_gone, metrics.result_errors) == (1, 3, 0)
        assert [queue for queue in driver._queues if queue.startswith("reply.")] == []
        assert f"no reply to '{foreign_id(8)}': its requester is gone" in caplog.text


async def test_a_responder_remembers_few_requesters(make_app: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    double(app)
    async with app.worker():
        driver: Any = next(iter(app._runtime.assembly.drivers.values()))  # type: ignore[union-attr]
        known: set[str] = set()
        inspect, undeclare = driver.inspect, driver.undeclare

        async def note_inspect(spec: QueueSpec) -> QueueSpec:
            known.add(spec.name)
            return await inspect(spec)  # type: ignore[no-any-return]

        async def note_undeclare(queue: str) -> None:
            known.remove(queue)
            await undeclare(queue)

        monkeypatch.setattr(driver, "inspect", note_inspect)
        monkeypatch.setattr(driver, "undeclare", note_undeclare)
        for number in range(300):
            await driver.declare(QueueSpec(foreign_id(number).replace(":", "."), temporary=True))
            await ask_as(app, number)
        assert len(known) == len(app._runtime.assembly.reply_queues._known) == 100  # type: ignore[union-attr]
        metrics = app._runtime.assembly.consumers["app:handle_tasks.consumer"].metrics  # type: ignore[union-attr]
        assert (metrics.replied, metrics.requesters_gone) == (300, 0)


async def test_a_reply_that_no_process_takes_is_removed_from_a_declared_queue(make_app: Make) -> None:
    app = make_app()
    double(app)
    answers = app.queue("answers")
    async with app.worker():
        await answers.publish("for a process that is gone", {"correlation_id": "theirs"})
        assert await app.request("tasks", {"sleep": 400}, reply_to="answers", reply_timeout=500) == 400
        assert await answers.peek() == []


async def test_the_reply_queue_goes_with_the_app(make_app: Make) -> None:
    app = make_app()
    double(app)
    await app.start()
    driver = instance(next(iter(app._runtime.assembly.drivers.values())), MemoryDriver)  # type: ignore[union-attr]
    await app.request("tasks", 1)
    assert [name for name in driver._queues if name.startswith("reply.")]
    waiting = asyncio.create_task(app.request("tasks", {"sleep": 50}))
    await asyncio.sleep(1)
    with pytest.raises(StopTimeoutError):
        await app.close(0)
    with pytest.raises(LifecycleError, match="closed while it waited"):
        await waiting
    assert [name for name in driver._queues if name.startswith("reply.")] == []
    with pytest.raises(LifecycleError):
        await app.request("tasks", 1)


async def test_a_driver_that_cannot_delete_is_purged(make_app: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    double(app)
    await app.start()
    driver = next(iter(app._runtime.assembly.drivers.values()))  # type: ignore[union-attr]
    purged: list[str] = []

    async def delete(queue: str) -> None:
        raise UnsupportedError("no")

    async def purge(queue: str) -> int:
        purged.append(queue)
        return 0

    monkeypatch.setattr(driver, "delete", delete)
    monkeypatch.setattr(driver, "purge", purge)
    await app.request("tasks", 1)
    await app.close(0)
    assert len(purged) == 1
    assert purged[0].startswith("reply.")


async def test_an_app_opens_again_with_a_reply_queue_of_its_own(make_app: Make) -> None:
    app = make_app()
    double(app)
    for _ in range(2):
        async with app.worker():
            assert await app.request("tasks", 1) == 2


async def test_a_declared_reply_queue(make_app: Make) -> None:
    app = make_app()
    double(app)
    app.queue("answers", max_length=5)
    async with app.worker():
        assert await app.request("tasks", 4, reply_to="answers") == 8
        assert await asyncio.gather(*(app.request("tasks", n, reply_to="answers") for n in range(5))) == [0, 2, 4, 6, 8]
        with pytest.raises(QueueNotFoundError):
            await app.request("tasks", 4, reply_to="nowhere")


async def test_what_is_for_others_in_a_declared_reply_queue_stays_for_them(make_app: Make) -> None:
    app = make_app()
    double(app)
    answers = app.queue("answers")
    async with app.worker():
        await answers.publish("for another requester", {"correlation_id": "theirs"})
        assert await app.request("tasks", 4, reply_to="answers") == 8
        await asyncio.sleep(1)
        (left,) = await answers.peek()
        assert left.headers["correlation_id"] == "theirs"


async def test_a_reload_makes_no_more_reply_queues(tmp_path: Path) -> None:
    keys = "signing: {keys: [{id: k, secret: 0123456789abcdef}]}"
    (tmp_path / "h.py").write_text("async def main(body):\n    return body\n")
    head = "version: '1.0'\nnamespace: app\nentries:\n  - {name: d, kind: queue.driver.memory}\n"
    tail = """
  - {name: h, kind: function.python, source: file://h.py, method: main}
  - {name: c, kind: queue.consumer, queue: tasks, func: h, lifecycle: {auto_start: true}}
"""
    file = tmp_path / "_index.yaml"
    file.write_text(f"{head}  - {{name: tasks, kind: queue.queue, driver: d, {keys}}}{tail}")
    app = App.load(tmp_path)
    async with app.worker():
        assert await app.request("app:tasks", 1) == 1
        file.write_text(f"{head}  - {{name: tasks, kind: queue.queue, driver: d, lease: 9s, {keys}}}{tail}")
        assert (await app.reload()).affected
        assert await app.request("app:tasks", 2) == 2
        assert len(app._runtime.assembly.requests._own) == 1  # type: ignore[union-attr]
