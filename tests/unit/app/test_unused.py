"""A program that declares consumers and never starts them says so at its end."""

from __future__ import annotations

import gc
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tasuki import App
from tasuki.contracts.driver import Depth
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


@pytest.mark.parametrize("consumers", [1, None])
@pytest.mark.anyio
async def test_not_where_another_process_consumes_or_nobody_counts(
    app: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, consumers: int | None
) -> None:
    async with app:
        driver = app.live_queue("jobs").driver
        counted = replace(await driver.depth("jobs"), consumers=consumers)

        async def depth(queue: str) -> Depth:
            return counted

        monkeypatch.setattr(driver, "depth", depth)
    end()
    assert caplog.records == []


@pytest.mark.anyio
async def test_not_where_the_broker_does_not_answer(
    app: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def depth(queue: str) -> Depth:
        raise BrokerUnavailableError("away", driver="d")

    async with app:
        monkeypatch.setattr(app.live_queue("jobs").driver, "depth", depth)
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
