"""A program that declares consumers and never starts them says so at its end."""

from __future__ import annotations

import sys
import weakref
from types import SimpleNamespace

import pytest

from tasuki import App
from tasuki.app.lifecycle import unused

noted: list[object] = []


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    """An App with a consumer, made by the program itself; what would run at exit is in ``noted``."""
    noted.clear()
    monkeypatch.setattr("atexit.register", lambda call, *rest: noted.append((call, rest)))
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__file__=__file__))
    app = App("memory://")

    @app.queue("jobs").consumer
    def work(body: object) -> None: ...

    return app


def end() -> None:
    for call, rest in noted:  # type: ignore[misc]
        call(*rest)  # type: ignore[has-type]


def test_it_says_how_to_start_a_worker(app: App, caplog: pytest.LogCaptureFixture) -> None:
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


def test_not_after_an_error(app: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "last_type", ValueError, raising=False)
    end()
    assert caplog.records == []


def test_not_of_a_module_or_without_consumers(
    app: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted.clear()
    App("memory://")
    end()
    noted.clear()
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__file__="/else/where.py"))
    App("memory://").queue("jobs").consumer(lambda body: None)
    assert noted == []
    unused._note(weakref.ref(App("memory://")), "x.py")  # it was freed before
    assert caplog.records == []
