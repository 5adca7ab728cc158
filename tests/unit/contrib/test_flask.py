"""Tasuki in Flask: the application context around handlers, and where the App comes from."""

from __future__ import annotations

import importlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app, g

from tasuki import App
from tasuki.contrib import flask
from tasuki.contrib.flask import Tasuki, app_of
from tasuki.errors import TasukiError
from tasuki.testing import TestApp


def web_of(name: str) -> Flask:
    web = Flask(__name__)
    web.config.update(NAME=name, TASUKI_URL="memory://")
    return web


def test_a_handler_has_the_context_of_its_application_and_each_message_its_own() -> None:
    web = web_of("shop")
    tasuki = Tasuki(web)
    told: list[tuple[str, str, bool]] = []
    ended: list[BaseException | None] = []
    mails, calls = tasuki.app.queue("mails", str), tasuki.app.queue("calls", str)

    @mails.consumer
    def plain(body: str) -> None:
        told.append((current_app.config["NAME"], body, "seen" in g))
        g.seen = True

    @calls.consumer
    async def call(body: str) -> None:
        told.append((current_app.config["NAME"], body, "seen" in g))
        g.seen = True

    web.teardown_appcontext(ended.append)
    with TestApp(tasuki.app) as twin:
        for queue in (mails, calls):
            for body in ("one", "two"):
                tasuki.app.sync.publish(queue, body)
            twin.sync.drain()
    assert told == [("shop", body, False) for body in ("one", "two", "one", "two")]
    assert ended == [None] * 4


def test_a_coroutine_that_a_plain_function_returns_has_a_context_of_its_own_too() -> None:
    web = web_of("shop")
    tasuki = Tasuki(web)
    told: list[tuple[str, bool]] = []

    async def note(body: str) -> None:
        told.append((current_app.config["NAME"], "seen" in g))
        g.seen = True

    @tasuki.app.queue("mails", str).consumer
    def decorated(body: str) -> Coroutine[Any, Any, None]:
        return note(body)

    with TestApp(tasuki.app) as twin:
        for body in ("one", "two"):
            tasuki.app.sync.publish("mails", body)
        twin.sync.drain()
    assert told == [("shop", False)] * 2


def test_teardown_gets_the_error_of_the_handler() -> None:
    web = web_of("shop")
    tasuki = Tasuki(web)
    ended: list[BaseException | None] = []
    web.teardown_appcontext(ended.append)

    @tasuki.app.queue("mails", str, dead_letter={"queue": "dead", "max_attempts": 1}).consumer
    def fail(body: str) -> None:
        raise ValueError(body)

    with TestApp(tasuki.app) as twin:
        tasuki.app.sync.publish("mails", "no")
        twin.sync.drain()
        assert len(twin.dead) == 1
    assert [str(error) for error in ended] == ["no"]


def test_the_app_is_made_from_the_configuration_or_given(tmp_path: Path) -> None:
    assert Tasuki(Flask("web", root_path=str(tmp_path))).app._runtime.root == tmp_path
    own = App("memory://")
    extension = Tasuki(app=own)
    assert extension.app is own
    web = web_of("factory")
    extension.init_app(web)
    assert app_of(web) is own
    assert own._runtime.around is not None


def test_mistakes_say_what_to_write() -> None:
    with pytest.raises(TasukiError, match="in an application factory give it an App"):
        Tasuki()
    with pytest.raises(TasukiError, match=r"'web' has no Tasuki: write Tasuki\(app\) where it is made"):
        app_of(Flask("web"))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        flask.nothing  # noqa: B018


ISOLATED = """
from flask import Flask, current_app
from tasuki.contrib.flask import Tasuki

web = Flask(__name__)
web.config.update(NAME="shop", TASUKI_URL="memory://")
tasuki = Tasuki(web)
names = tasuki.app.queue("names", str)
tasuki.app.entry("name", "function.python", target="isolated_web:name", isolation="process", pool={"workers": 1})
tasuki.app.entry("namers", "queue.consumer", queue="names", func="name", lifecycle={"auto_start": True})


def name(body: str) -> str:
    return f"{body} of {current_app.config['NAME']}"
"""


def test_a_process_of_its_own_has_the_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "isolated_web.py").write_text(ISOLATED)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FLASK_APP", "isolated_web:web")
    app: App = importlib.import_module("isolated_web").tasuki.app
    with TestApp(app):
        assert app.sync.request("names", "ada", returns=str) == "ada of shop"
