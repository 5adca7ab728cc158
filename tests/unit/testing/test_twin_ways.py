"""TestApp with and without an event loop, in threads, with unittest, and with a project of Lua and YAML."""

from __future__ import annotations

import asyncio
import threading
import unittest
from pathlib import Path

import pytest

from tasuki import App, Context, Handle, Observer, Reject
from tasuki.contracts.context import Facts
from tasuki.errors import LifecycleError, ProjectError
from tasuki.testing import NotSettled, TestApp
from tasuki.testing.clock import virtual_time
from tests.unit.testing import shop
from tests.unit.testing.shop import Mail, jobs, mails, threaded

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _empty() -> None:
    shop.smtp.sent.clear()
    shop.calls.clear()


def test_without_an_event_loop() -> None:
    with TestApp(shop.app) as t:
        shop.app.sync.publish(mails, Mail("ada"))
        t.sync.publish(threaded, 1)
        assert t.sync.drain().done == 3
        assert shop.calls == ["1", "0"]
        assert t.sync.request(jobs, "x") == shop.app.sync.request(jobs, "x") == "X"
        assert t.sync.run(shop.count, 0) == 0
        t.sync.publish(jobs, "later", delay="1d")
        assert t.sync.advance("1d").done == 1


def test_read_errors_without_an_event_loop() -> None:
    with TestApp(shop.app, strict=True) as t:
        t.sync.publish(jobs, "break")
        t.sync.drain()
        assert len(t.errors) == 1
    assert shop.app._runtime.owner is None


def test_a_project_with_mistakes_is_left_alone() -> None:
    app = App("memory://")
    app.queue("queue", driver="none")
    with pytest.raises(ProjectError, match="none"), TestApp(app):
        pass
    assert app._runtime.owner is None


def test_sync_handlers_publish_from_their_threads() -> None:
    async def main() -> None:
        async with TestApp(shop.app) as t:
            await threaded.publish(1)
            assert (await t.drain()).done == 2
            await asyncio.to_thread(shop.app.sync.publish, threaded, 0)
            assert (await t.drain()).done == 1
            with pytest.raises(LifecycleError, match="would block"):
                shop.app.sync.publish(jobs, "x")

    asyncio.run(main())
    assert shop.calls == ["1", "0", "0"]


def test_a_server_in_another_thread_with_a_loop_and_a_lifespan_of_its_own() -> None:
    async def serve() -> None:
        async with shop.app.lifespan(consume=True)(None):
            await mails.publish(Mail("ada"))

    with TestApp(shop.app) as t:
        for _ in range(2):
            server = threading.Thread(target=lambda: asyncio.run(serve()))
            server.start()
            server.join()
        assert t.published(mails) == [Mail("ada")] * 2
        assert t.sync.drain().done == 2


class WithUnittest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.t = await self.enterAsyncContext(TestApp(shop.app, strict=True))

    async def test_it(self) -> None:
        await mails.publish(Mail("ada"), delay="1d")
        await self.t.advance("1d")
        assert self.t.settled(mails) == ["ack"]


class WithPlainUnittest(unittest.TestCase):
    def setUp(self) -> None:
        self.t = self.enterContext(TestApp(shop.app, strict=True))

    def test_it(self) -> None:
        shop.app.sync.publish(mails, Mail("ada"))
        assert self.t.sync.drain().done == 1


def test_handlers_in_lua(tmp_path: Path) -> None:
    (tmp_path / "_index.yaml").write_text(PROJECT)
    with TestApp(tmp_path) as t:
        t.sync.publish("app:tasks", {"fails": 1})
        assert t.sync.drain().failed == 1
        t.sync.advance("1h")
        assert t.settled("app:tasks") == ["nack", "ack"]
        assert t.published("app:results") == [{"attempt": 2}]
        assert t.sync.run("app:handle", {"fails": 0}) is None


PROJECT = """
version: "1.0"
namespace: app
entries:
  - {name: broker, kind: queue.driver.amqp, url: "amqp://localhost:1/"}
  - {name: tasks, kind: queue.queue, driver: broker}
  - {name: results, kind: queue.queue, driver: broker}
  - name: handle
    kind: function.lua
    modules: [queue]
    source: |
      return function(task)
        local message = queue.message()
        if message:attempt() <= task.fails then error("not yet") end
        queue.publish("app:results", {attempt = message:attempt()})
      end
  - {name: consumer, kind: queue.consumer, queue: tasks, func: handle, lifecycle: {auto_start: true}}
"""


def test_the_seed() -> None:
    with TestApp(ROOT / "examples" / "seed") as t:
        t.sync.publish("app.queue:tasks", {"id": "task-1", "action": "process"})
        assert (t.sync.drain().done, t.dead) == (1, [])


def test_functions_in_a_process(tmp_path: Path) -> None:
    app = App("memory://", root=tmp_path)
    (tmp_path / "double.py").write_text("def double(n: int) -> int:\n    return 2 * n\n")
    function = app.entry("double", "function.python", source="file://double.py", method="double", isolation="process")
    numbers = app.queue("numbers")
    app.entry("doubler", "queue.consumer", queue=numbers.id, func=function, lifecycle={"auto_start": True})
    with TestApp(app) as t:
        assert t.sync.request(numbers, 21) == 42
        assert t.sync.request(numbers, 4) == 8


def test_a_dead_letter_on_another_driver_and_shared_workers() -> None:
    app = App("memory://")
    other = app.entry("other", "queue.driver.sqlite")
    dead = app.queue("dead", driver=other)
    queues = [app.queue(name, dead_letter=dead.id) for name in ("a", "b")]
    app.workers.pool("workers", queues, concurrency=2)
    seen: list[str] = []

    async def refuse(body: str) -> None:
        seen.append(body)
        raise Reject("no")

    for queue in queues:
        queue.consumer(refuse)
    with TestApp(app) as t:
        for _ in range(2):
            t.sync.publish(queues[0], "x")
            t.sync.publish(queues[1], "y")
            run = t.sync.drain()
            assert (run.done, run.failed, run.dead) == (0, 2, 2)
        assert sorted(seen) == ["x", "x", "y", "y"]
        assert t.settled(queues[0]) == ["dead_letter", "dead_letter"]
        assert t.published(dead) == []
        assert len(t.dead) == 4


def test_middleware_and_observers_of_the_app_take_part() -> None:
    app = App("memory://")
    heard: list[str] = []

    class Ear(Observer):
        def on_start(self, facts: Facts) -> None:
            heard.append(facts.queue)

    @app.middleware
    async def loud(body: str, context: Context, handle: Handle) -> object:
        return await handle(body.upper(), context)

    queue = app.queue("queue")

    @queue.consumer(middleware=["loud"])
    async def echo(body: str) -> str:
        return body

    app.observers.append(Ear())
    with TestApp(app) as t:
        assert t.sync.request(queue, "a") == "A"
    assert heard == ["app:queue"]
    assert len(app.observers) == 1


def test_a_handler_that_hangs_is_interrupted_in_the_time_of_the_loop() -> None:
    async def main() -> None:
        async with TestApp(shop.app) as t:
            await jobs.publish("hang")
            await jobs.publish("free")
            run = await t.drain()
            assert (run.done, run.failed) == (1, 1)
            assert t.waiting(jobs)[0].error == "the handler ran longer than handler_timeout (30s)"
            assert (t.errors, t.clock.monotonic()) == ([], 0)
            assert 30 <= asyncio.get_running_loop().time() < 31

    with virtual_time() as runner:
        runner.run(main())


def test_the_time_of_a_task_is_its_own_where_it_has_one() -> None:
    """Shorter than its consumer's, or longer: as a worker keeps it."""
    app = App("memory://")
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})
    jobs.task_consumer(handler_timeout="30s")
    app.queue("dead")

    @jobs.task(handler_timeout="5s")
    async def short() -> None:
        await asyncio.sleep(20)

    @jobs.task(handler_timeout="10m")
    async def long() -> None:
        await asyncio.sleep(300)

    @jobs.task
    async def plain() -> None:
        await asyncio.sleep(300)

    async def main() -> None:
        async with TestApp(app) as t:
            for task in (short, long, plain):
                await task.publish()
            await t.drain()
            assert [(each.body, each.error) for each in t.dead] == [
                ({}, "the handler ran longer than handler_timeout (5s)"),
                ({}, "the handler ran longer than handler_timeout (30s)"),
            ]

    with virtual_time() as runner:
        runner.run(main())


def test_a_handler_without_a_queue_publishes_from_its_thread() -> None:
    app = App("memory://")
    numbers = app.queue("numbers")

    @app.function()
    def send(number: int) -> None:
        app.sync.publish(numbers, number)

    with TestApp(app) as t:
        t.sync.run(send, 1)
        assert t.published(numbers) == [1]


def test_tasks_that_handlers_leave_end_with_the_block() -> None:
    app = App("memory://")
    numbers = app.queue("numbers")
    left: list[asyncio.Task[None]] = []

    @numbers.consumer()
    async def leave(number: int) -> None:
        left.append(asyncio.create_task(asyncio.sleep(60)))

    with TestApp(app) as t:
        t.sync.publish(numbers, 1)
        t.sync.drain()
    assert left[0].cancelled()


def test_a_cancelled_drain_ends_with_its_handlers() -> None:
    app = App("memory://")
    numbers = app.queue("numbers")

    @numbers.consumer()
    async def hang(number: int) -> None:
        await asyncio.sleep(3600)

    async def main() -> None:
        async with TestApp(app) as t:
            await numbers.publish(1)
            start = asyncio.get_running_loop().time()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await t.drain()
            assert asyncio.get_running_loop().time() - start < 6
            assert t.settled(numbers) == ["release"]
            assert len(asyncio.all_tasks()) == 1

    with virtual_time() as runner:
        runner.run(main())


def test_a_loop_of_delayed_messages_is_ended_too() -> None:
    app = App("memory://")
    beats = app.queue("beats")

    @beats.consumer()
    async def beat(number: int) -> None:
        await beats.publish(number + 1, delay="1s")

    with TestApp(app) as t:
        t.sync.publish(beats, 1)
        with pytest.raises(NotSettled, match=r"messages are left after 10 deliveries:\n.*it is due in 1s: advance"):
            t.sync.advance("1m", steps=10)
        assert t.sync.advance("2.5s", steps=10).done == 2


def test_a_drain_waits_for_on_give_up_in_its_thread() -> None:
    app = App("memory://")
    jobs = app.queue("jobs", dead_letter={"queue": "dead", "max_attempts": 1})
    loops: list[asyncio.AbstractEventLoop] = []

    def give_up() -> None:
        later = threading.Event()  # after many turns of the loop
        loops[0].call_soon_threadsafe(loops[0].call_later, 0.1, later.set)
        assert later.wait(10)

    @jobs.task(on_give_up=give_up)
    async def fail() -> None:
        loops.append(asyncio.get_running_loop())
        raise ValueError("no")

    with TestApp(app) as t:
        fail.send()
        assert t.sync.drain().dead == 1
        assert [dead.error for dead in t.dead] == ["ValueError: no"]
