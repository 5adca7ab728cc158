"""Tasuki in Flask: ``Tasuki(flask_app)`` makes an App whose handlers run in the application context."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from typing import Any

import click
from flask import Flask
from flask.cli import ScriptInfo

from tasuki.app import App
from tasuki.errors import TasukiError

TARGET = "tasuki.contrib.flask:app"
"""How the command line names the App of the Flask application that is loaded."""
KEY = "tasuki"
_found: list[App] = []


class Tasuki:
    """The extension: ``app`` is the App, and ``flask tasuki`` its worker.

    ``TASUKI_URL`` of the configuration is the driver (default ``sqlite://``, beside the application).
    """

    def __init__(self, flask_app: Flask | None = None, app: App | None = None) -> None:
        """Take an App, or make one; without ``flask_app`` call ``init_app`` later, with an ``app`` given here."""
        self.given = app
        if flask_app is not None:
            self.init_app(flask_app)
        elif app is None:
            raise TasukiError("Tasuki() needs the Flask application; in an application factory give it an App")

    @property
    def app(self) -> App:
        """The App. Raises TasukiError before ``init_app``, unless one was given."""
        if self.given is None:
            raise TasukiError("Tasuki has no application yet: call init_app(flask_app), or give it an App")
        return self.given

    def init_app(self, flask_app: Flask) -> None:
        """Push the context of an application around each handler, and give it the command ``flask tasuki``."""
        if self.given is None:
            self.given = App(flask_app.config.get("TASUKI_URL", "sqlite://"), root=flask_app.root_path)
        self.given._runtime.around = functools.partial(in_context, flask_app)
        self.given._runtime.prepare_child = f"{__name__}:prepare"
        flask_app.extensions[KEY] = self
        flask_app.cli.add_command(command)


def in_context(flask_app: Flask, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function within its own application context, which ends with it, as for a request."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def run_async(*args: Any, **named: Any) -> Any:
            with flask_app.app_context():
                return await function(*args, **named)

        return run_async

    @functools.wraps(function)
    def run(*args: Any, **named: Any) -> Any:
        with flask_app.app_context():
            return function(*args, **named)

    return run


def prepare() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Load the application in a process of ``isolation: process``; see ``App.prepare_child``.

    Raises:
        click.UsageError: the environment has no FLASK_APP, which ``flask tasuki`` sets.
    """
    return functools.partial(in_context, ScriptInfo(os.environ.get("FLASK_APP")).load_app())


@click.command(
    "tasuki", add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def command(info: ScriptInfo, words: tuple[str, ...]) -> None:
    """Run the workers of this application, or another command of tasuki: flask tasuki queues."""
    from tasuki.cli import main
    from tasuki.cli.group import COMMANDS
    from tasuki.registry.finding import VARIABLE

    _found[:] = [app_of(info.load_app())]
    if info.app_import_path:
        os.environ["FLASK_APP"] = info.app_import_path  # processes that this one starts load the same application
    os.environ[VARIABLE] = TARGET
    is_named = bool(words) and (words[0] in COMMANDS or words[0] == "--version")
    raise SystemExit(main(words if is_named else ["run", *words]))


def app_of(flask_app: Flask) -> App:
    """The App of a Flask application. Raises TasukiError: it has no Tasuki."""
    extension = flask_app.extensions.get(KEY)
    if extension is None:
        raise TasukiError(f"the Flask application {flask_app.name!r} has no Tasuki: write Tasuki(app) where it is made")
    app: App = extension.app
    return app


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not _found:
        _found.append(app_of(ScriptInfo(os.environ.get("FLASK_APP")).load_app()))
    return _found[0]
