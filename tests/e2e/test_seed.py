"""The seed document's project, letter by letter: what it shows works, on memory, and on SQLite by one override."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.errors import ProjectError
from tasuki.supervisor.spec import State
from tests.e2e import seed
from tests.e2e.projects import eventually, write

pytestmark = pytest.mark.anyio
TASKS = "app.queue:tasks"
SOON = "app.queue:tasks:retry.initial_delay=10ms"


@pytest.fixture(params=["memory", "sqlite"])
def overrides(request: pytest.FixtureRequest) -> list[str]:
    return [SOON, seed.ON_SQLITE] if request.param == "sqlite" else [SOON]


@pytest.fixture
def app(tmp_path: Path, overrides: list[str]) -> App:
    return App.load(write(tmp_path, seed.PROJECT), overrides=overrides)


@pytest.fixture
def processed(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, Any]]]:
    """What the handler has logged, record by record."""
    records: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "Processing":
                records.append(vars(record))

    keep = Keep()
    logger = logging.getLogger("tasuki")
    caplog.set_level(logging.INFO, "tasuki")
    logger.addHandler(keep)
    yield records
    logger.removeHandler(keep)


async def count(app: App) -> int:
    return int((await app.queue(TASKS).info())["message_count"])


async def settled(app: App) -> None:
    while await count(app):
        await asyncio.sleep(0.005)


async def test_the_log_record_says_where_it_comes_from(app: App, processed: list[dict[str, Any]]) -> None:
    async with app.worker():
        confirmed = await app.publish(TASKS, {"id": "task-1"})
        await settled(app)
    record = processed[0]
    assert record["levelname"] == "INFO"
    assert record["queue"] == TASKS
    assert record["consumer"] == "app.queue:task_consumer"
    assert record["message_id"] == confirmed.id


async def test_the_published_table_arrives_whole(app: App) -> None:
    async with app:
        await app.call("app.queue:publisher", {"size": 3, "names": ["a", "b"]})
        queue = app._runtime.queue(TASKS)
        (message,) = await queue.peek()
        assert queue.decode(message) == {
            "id": "task-123",
            "action": "process",
            "data": {"size": 3, "names": ["a", "b"]},
        }


async def test_depends_on_may_name_a_queue(app: App) -> None:
    async with app.worker():
        states = {id: status.state for id, status in app._runtime.supervisor.states().items()}
        assert states == {"app.queue:memory_driver": State.RUNNING, "app.queue:task_consumer": State.RUNNING}


async def test_four_workers_and_twenty_messages_held(app: App) -> None:
    running = most = 0
    gate = asyncio.Event()

    async def wait(body: object) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    # The consumer as it stands, with a handler that the test holds: declared in code, beside the YAML.
    app = App.load(
        write(app._runtime.root, {"_index.yaml": seed.document(seed.DRIVER, seed.QUEUE, seed.CONSUMER)}),
        overrides=app._runtime.overrides,
    )
    app.function("app.queue:task_handler")(wait)
    async with app.worker():
        await app._runtime.queue(TASKS).publish_many(list(range(50)))
        await eventually(lambda: running == 4)
        await asyncio.sleep(0.1)  # long enough to take more, if it did
        info = await app.queue(TASKS).info()
        assert (info["in_flight"], info["ready"]) == (20, 30)
        gate.set()
        await settled(app)
    assert most == 4


async def test_a_stop_finishes_what_runs_and_hands_back_what_waits(app: App) -> None:
    started, gate = asyncio.Event(), asyncio.Event()
    finished: list[int] = []

    async def wait(body: int) -> None:
        started.set()
        await gate.wait()
        finished.append(body)

    write(app._runtime.root, {"_index.yaml": seed.document(seed.DRIVER, seed.QUEUE, seed.CONSUMER)})
    app = App.load(app._runtime.root, overrides=app._runtime.overrides)
    app.function("app.queue:task_handler")(wait)
    await app.start()
    queue = app._runtime.queue(TASKS)
    await queue.publish_many(list(range(10)))
    await started.wait()
    stopping = asyncio.create_task(app.close())
    await eventually(lambda: app._runtime.supervisor.states()["app.queue:task_consumer"].state is State.STOPPING)
    gate.set()
    await stopping
    assert sorted(finished) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("field", "maximum", "problem"),
    [
        ("concurrency", 1000, "concurrency 1001 exceeds maximum 1000"),
        ("prefetch", 10000, "prefetch 10001 exceeds maximum 10000"),
    ],
)
def test_maxima(tmp_path: Path, field: str, maximum: int, problem: str) -> None:
    write(tmp_path, seed.PROJECT)
    App.load(tmp_path, overrides=[f"app.queue:task_consumer:{field}={maximum}"]).check()
    with pytest.raises(ProjectError, match=problem):
        App.load(tmp_path, overrides=[f"app.queue:task_consumer:{field}={maximum + 1}"]).check()


def test_the_example_holds_the_document_unchanged() -> None:
    example = Path(__file__).parents[2] / "examples" / "seed"
    index = (example / "_index.yaml").read_text(encoding="utf-8")
    for snippet in (seed.DRIVER, seed.QUEUE, seed.CONSUMER, seed.FUNCTION):
        assert snippet in index
    assert seed.HANDLER in (example / "task_handler.lua").read_text(encoding="utf-8")
