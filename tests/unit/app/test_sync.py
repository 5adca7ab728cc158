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
from tasuki.app.edit_and_dry_run import Changes
from tasuki.app.sync.batches import SyncBatches
from tasuki.app.sync.running import SyncApp
from tasuki.app.sync.verbs import RedriveOptions
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
    assert app.sync.info("tasks")["message_count"] == 3
    assert app.sync.call("double", 4) == 8
    with pytest.raises(QueueNotFoundError):
        app.sync.publish("nowhere", 1)


def test_many_threads_share_one_loop(app: App) -> None:
    threads = [threading.Thread(target=app.sync.publish, args=("tasks", number)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert app.sync.info("tasks")["ready"] == 20
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
            app.sync.info("tasks")


async def test_from_a_thread_beside_the_app(app: App) -> None:
    async with app:
        assert await asyncio.to_thread(app.sync.publish, "tasks", 1)
        assert (await app.live_queue("tasks").depth()).ready == 1


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
        (message,) = await app.live_queue("tasks").peek()
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

        patch.setattr(App, "check", broken)
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


@app.on_publish
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


OWN_LIFE = {"open", "start", "run", "close", "reload", "use_store", "ready_queue"}
"""Coroutines of an App without a counterpart: ``app.sync`` opens the app itself, and runs no consumers."""
OF_QUEUES = {"publish", "publish_many", "request", "depth", "info", "peek", "purge", "remove"}


def verbs_of(face: type) -> set[str]:
    return {name for name in dir(face) if not name.startswith("_") and iscoroutinefunction(getattr(face, name))}


def test_the_sync_face_has_the_verbs_of_the_other_one() -> None:
    found = {name for name in dir(SyncApp) if not name.startswith("_")} - {"abandon_parent", "close", "remedy", "run"}
    assert verbs_of(QueueHandle) == OF_QUEUES
    assert (verbs_of(App) - OWN_LIFE) | OF_QUEUES | {"job", "store", "batches"} == found


@pytest.mark.parametrize("face", [(App, SyncApp), (Job, SyncJob), (Batches, SyncBatches)])
def test_both_faces_take_the_same_arguments(face: tuple[type, type]) -> None:
    awaited, blocking = ({name: signature(getattr(one, name)) for name in verbs_of(face[0]) - OWN_LIFE} for one in face)
    typed_as_one = {"redrive": RedriveOptions, "edit": Changes}
    for name, takes in awaited.items():
        given = list(blocking[name].parameters)
        if name in typed_as_one:
            given = [*given[:-1], *typed_as_one[name].__annotations__]
        assert sorted(given) == sorted(takes.parameters), name


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
    assert app.sync.job(job.id, queue="results").status() == "cancelled"
    with pytest.raises(HandlerError, match="the message was cancelled"):
        job.result()
    assert repr(job) == f"SyncJob(id='{job.id}', queue='app:results', outcome='stored')"
    assert app.sync.depth("results").ready == 0
    kept = app.sync.publish("results", 2)
    assert [message.id for message in app.sync.peek("results")] == [kept.id]
    assert app.sync.remove("results", [kept.id]) == 1
    assert (app.sync.purge("results"), app.sync.redrive("dead", limit=5)) == (0, 0)
    assert (app.sync.schedules(), app.sync.dead_letters("dead").groups) == ([], [])
    assert len(app.sync.history("results")) == 60
