"""A program that declares consumers and never starts them says so at its end."""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tasuki import App
from tasuki.contracts.state.store import Page
from tasuki.drivers.sqlite.state.store import SQLiteStore
from tasuki.errors import BrokerUnavailableError

noted: list[object] = []


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    """An App with a consumer, made by the program itself; what would run at exit is in ``noted``."""
    noted.clear()
    monkeypatch.setattr("atexit.register", noted.append)
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__file__=__file__))
    app = App("memory://")

    @app.queue("jobs").consumer
    def work(body: object) -> None: ...

    return app


def end() -> None:
    for call in noted:
        call()  # type: ignore[operator]


@pytest.mark.parametrize("is_opened", [False, True])
@pytest.mark.anyio
async def test_it_says_how_to_start_a_worker(app: App, caplog: pytest.LogCaptureFixture, *, is_opened: bool) -> None:
    if is_opened:
        async with app:
            await app.publish("jobs", 1)
    end()
    (record,) = caplog.records
    text = record.getMessage()
    assert text.startswith("test_unused.py ends, and consumer app:work.consumer never ran in it")
    assert "start one: tasuki run " in text


@pytest.mark.anyio
async def test_not_where_consumers_ran(app: App, caplog: pytest.LogCaptureFixture) -> None:
    async with app.worker():
        pass
    end()
    assert caplog.records == []


def with_consumer(url: str) -> App:
    app = App(url)

    @app.queue("jobs").consumer
    def work(body: object) -> None: ...

    return app


@pytest.mark.anyio
async def test_not_where_another_process_consumes(
    app: App, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/queue.db"
    async with with_consumer(url).worker() as worker:
        while not await worker.workers.list():
            await asyncio.sleep(0.01)
        noted.clear()
        async with with_consumer(url) as publisher:
            await publisher.publish("jobs", 1)
        end()
    assert caplog.records == []


@pytest.mark.anyio
async def test_not_where_the_store_does_not_answer(
    app: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def refuse(*_: object, **__: object) -> Page:
        raise BrokerUnavailableError("away", driver="d")

    noted.clear()
    async with with_consumer(f"sqlite:///{tmp_path}/queue.db") as publisher:
        monkeypatch.setattr(SQLiteStore, "list", refuse)
        assert (await publisher._runtime.queue("jobs").info())["consumer_count"] is None
    end()
    assert caplog.records == []


def test_not_after_an_error(app: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "last_type", ValueError, raising=False)
    end()
    assert caplog.records == []


def test_not_without_consumers_or_the_app(app: App, caplog: pytest.LogCaptureFixture) -> None:
    noted.clear()
    other = App("memory://")
    end()
    del other
    gc.collect()
    end()
    assert caplog.records == []


def test_not_of_a_module(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    noted.clear()
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__file__="/else/where.py"))
    App("memory://").queue("jobs").consumer(lambda body: None)
    assert noted == []
