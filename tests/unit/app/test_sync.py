"""Sync code: its calls run on the app's own loop, or on one in a thread. Real time, for there are real threads."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from inspect import iscoroutinefunction, signature
from pathlib import Path
from typing import Any

import pytest

from tasuki import App, Job, QueueHandle, SyncJob
from tasuki.app.batches import Batches
from tasuki.app.dead import AppDead
from tasuki.app.jobs import AppJobs
from tasuki.app.runtime import Runtime
from tasuki.app.schedules.declaring import AppSchedules
from tasuki.app.sync.faces import SyncBatches, SyncDead, SyncJobs, SyncQueue, SyncSchedules, SyncWorkers
from tasuki.app.sync.running import SyncApp
from tasuki.app.workers import AppWorkers
from tasuki.contracts.state.store_handle import StoreHandle, SyncStoreHandle
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import HandlerError, LifecycleError, QueueNotFoundError, RequestTimeoutError
from tasuki.queues.result import Confirmed

pytestmark = pytest.mark.anyio


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    app = App("memory://", root=tmp_path)
    app.queue("tasks")

    @app.function()
    async def double(number: int) -> int:
        return 2 * number

    yield app
    app.sync.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "tasuki sync"]


def in_thread(work: Callable[[], Any]) -> Any:
    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(work()))
    thread.start()
    thread.join(20)
    return outcome[0]


def test_publishes_looks_and_calls_without_a_loop(app: App) -> None:
    assert isinstance(app.sync.publish("tasks", 1, {"h": 1}, delay=5), Confirmed)
    assert [type(result) for result in app.sync.publish_many("tasks", [1, 2], publish_timeout=5)] == [Confirmed] * 2
    assert app.sync.queue("tasks").info()["message_count"] == 3
    assert app.sync.call("double", 4) == 8
    with pytest.raises(QueueNotFoundError):
        app.sync.publish("nowhere", 1)


def test_many_threads_share_one_loop(app: App) -> None:
    threads = [threading.Thread(target=app.sync.publish, args=("tasks", number)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert app.sync.queue("tasks").info()["ready"] == 20
    assert sum(thread.name == "tasuki sync" for thread in threading.enumerate()) == 1


def test_closed_and_used_again(app: App) -> None:
    app.sync.publish("tasks", 1)
    app.sync.close()
    app.sync.close()
    assert not app.is_open
    assert app.sync.publish("tasks", 2)


async def test_in_the_thread_of_a_loop_it_says_what_to_do(app: App) -> None:
    with pytest.raises(LifecycleError, match="would block the event loop: await"):
        app.sync.publish("tasks", 1)
    async with app:
        with pytest.raises(LifecycleError, match="would block the event loop"):
            app.sync.queue("tasks").info()


async def test_from_a_thread_beside_the_app(app: App) -> None:
    async with app:
        assert await asyncio.to_thread(app.sync.publish, "tasks", 1)
        assert (await app._runtime.queue("tasks").depth()).ready == 1


async def test_from_the_thread_of_a_sync_handler(app: App) -> None:
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    threads: list[int] = []

    @app.queue("other").consumer()
    def handle(body: Any) -> None:
        threads.append(threading.get_ident())
        app.sync.publish("tasks", body)
        loop.call_soon_threadsafe(done.set)

    async with app.worker():
        await app.publish("other", "passed on")
        async with asyncio.timeout(60):
            await done.wait()
        (message,) = await app._runtime.queue("tasks").peek()
    assert message.body == b'"passed on"'
    assert threads != [threading.get_ident()]


def test_another_loop_while_sync_has_it_open(app: App) -> None:
    app.sync.publish("tasks", 1)

    async def use() -> None:
        with pytest.raises(LifecycleError, match="open in another event loop"):
            await app.open()

    in_thread(lambda: asyncio.run(use()))


def test_a_worker_in_another_loop_while_sync_has_it_open(app: App) -> None:
    app.sync.publish("tasks", 1)
    with pytest.raises(LifecycleError, match=r"app.sync.close\(\)"):
        asyncio.run(app.run(signals=False))


def test_a_loop_that_does_not_run_is_an_error_and_a_closed_one_is_replaced(app: App) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(app.open())
    with pytest.raises(LifecycleError, match=r"does not run now.*await app\.close\(\)"):
        app.sync.publish("tasks", 1)
    loop.close()
    assert isinstance(app.sync.publish("tasks", 1), Confirmed)


@pytest.mark.parametrize("error", [ValueError("defect"), ImportError("driver needs: pip install")])
def test_an_open_that_fails_leaves_no_thread(app: App, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    with monkeypatch.context() as patch:

        def broken(*args: Any) -> Any:
            raise error

        patch.setattr(Runtime, "check", broken)
        with pytest.raises(type(error)):
            app.sync.publish("tasks", 1)
        assert not [thread for thread in threading.enumerate() if thread.name == "tasuki sync"]
    assert app.sync.publish("tasks", 1)


def test_a_close_that_fails_ends_its_thread(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    app.sync.publish("tasks", 1)

    async def fail(self: MemoryDriver) -> None:
        raise ValueError("does not close")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryDriver, "close", fail)
        with pytest.raises(LifecycleError, match="does not close"):
            app.sync.close()
    app.sync.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_has_failed_answers_with_an_error_and_is_replaced(app: App) -> None:
    def fail() -> None:
        raise SystemExit

    @app.function()
    async def breaks() -> None:
        asyncio.get_running_loop().call_soon(fail)
        await asyncio.sleep(3600)

    assert app.sync.call("double", 2) == 4
    with pytest.raises(LifecycleError, match=r"the event loop of app\.sync has failed"):
        app.sync.call("breaks")
    assert app.sync.call("double", 4) == 8


@pytest.mark.parametrize("url", ["memory://", "sqlite://"])
def test_another_event_loop_cannot_publish(tmp_path: Path, url: str) -> None:
    """Whatever the driver is: it is refused before it is asked, for the reply queue of a request too."""
    app = App(url, root=tmp_path)
    tasks = app.queue("tasks")

    async def publish_there() -> None:
        for publish in (tasks.publish(1), tasks.publish_many([1]), tasks.request(1)):
            with pytest.raises(
                LifecycleError, match=r"queue '.*' was opened in another event loop.*run_coroutine_thread"
            ):
                await publish

    with asyncio.Runner() as here:
        here.run(app.open())
        asyncio.run(publish_there())
        here.run(tasks.publish(2))
        assert here.run(tasks.depth()).ready == 1
        here.run(app.close())


SCRIPT = """
import time
from concurrent.futures import thread

from tasuki import App, Moment

app = App("memory://")
app.queue("tasks")


@app.on.publish
def heard(moment: Moment) -> None:
    while not thread._shutdown:  # the end of the script
        time.sleep(0.001)
    print("heard", moment.body, flush=True)


for number in range(3):
    app.sync.publish("tasks", number)
"""


def test_plain_hooks_hear_of_what_a_script_has_published_last(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout.splitlines(), done.stderr) == (["heard 0", "heard 1", "heard 2"], "")


FACES: list[tuple[type, type]] = [
    (App, SyncApp),
    (AppDead, SyncDead),
    (AppJobs, SyncJobs),
    (AppSchedules, SyncSchedules),
    (AppWorkers, SyncWorkers),
    (Batches, SyncBatches),
    (Job, SyncJob),
    (QueueHandle, SyncQueue),
    (StoreHandle, SyncStoreHandle),
]
ELSEWHERE = {"open", "start", "run", "close", "reload", "publish", "publish_many", "request"}
"""Coroutines without a counterpart there: ``app.sync`` opens the app itself, and publishes for all queues."""


@pytest.mark.parametrize(("awaited", "blocking"), FACES)
def test_the_sync_face_has_each_verb_with_the_same_arguments(awaited: type, blocking: type) -> None:
    verbs = {name for name in dir(awaited) if not name.startswith("_") and iscoroutinefunction(getattr(awaited, name))}
    for name in verbs - ELSEWHERE:
        given, takes = getattr(blocking, name), getattr(awaited, name)
        assert not iscoroutinefunction(given)
        assert sorted(signature(given).parameters) == sorted(signature(takes).parameters), name


def test_a_sync_job_has_the_verbs_without_await(app: App) -> None:
    app.queue("results", result="1h", dead_letter="dead")
    app.queue("dead")

    job = app.sync.publish("results", 1)

    assert isinstance(job, SyncJob)
    assert job.status() == "waiting"
    assert job.progress() is None
    with pytest.raises(RequestTimeoutError, match="has not started after 10ms"):
        job.result("10ms")
    assert job.cancel() == "waiting"
    assert app.sync.jobs.get(job.id, queue="results").status() == "cancelled"
    with pytest.raises(HandlerError, match="the message was cancelled"):
        job.result()
    assert repr(job) == f"SyncJob(id='{job.id}', queue='app:results', outcome='stored')"
    assert app.sync.queue("results").depth().ready == 0
    kept = app.sync.publish("results", 2)
    assert [message.id for message in app.sync.queue("results").peek()] == [kept.id]
    assert app.sync.queue("results").remove([kept.id]) == 1
    assert (app.sync.queue("results").purge(), app.sync.dead.redrive("dead", limit=5)) == (0, 0)
    assert (app.sync.schedules.list(), app.sync.dead.letters("dead").groups) == ([], [])
    assert len(app.sync.queue("results").history()) == 60
