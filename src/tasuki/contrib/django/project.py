"""The App of a Django project: made once in each process, from the setting TASUKI."""

from __future__ import annotations

import threading
from pathlib import Path

import django
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from tasuki.app import App
from tasuki.contracts.context import Around
from tasuki.contrib.django.config import Config, current_config
from tasuki.contrib.django.connections import closing_connections
from tasuki.contrib.django.transactions import DjangoSync
from tasuki.errors import TasukiError
from tasuki.observe.log import keep_handlers

TARGET = "tasuki.contrib.django:app"
"""How the command line names the project."""

_lock = threading.RLock()
_app: App | None = None


def project_app() -> App:
    """The App of this project; the same one for every call.

    Raises:
        ImproperlyConfigured: the setting TASUKI is wrong, or its APP cannot be loaded.
    """
    global _app
    with _lock:
        if _app is None:
            _app = make_app(current_config())
        return _app


def make_app(config: Config) -> App:
    """The App, which publishes in transactions of Django and closes its connections around each handler."""
    app = App(config.url, root=_root()) if config.app is None else _load(config.app)
    app.sync = DjangoSync(app, config.database)
    app.timezone = settings.TIME_ZONE
    app._runtime.around = closing_connections
    app._runtime.prepare_child = "tasuki.contrib.django.project:prepare"
    return app


def set_up() -> None:
    """Make Django ready, for a command that is not one of ``manage.py``. Idempotent."""
    if not apps.ready and not apps.loading:
        django.setup()
        respect_logging()


def respect_logging() -> None:
    """Leave log records to the setting LOGGING, if the project has one."""
    if settings.LOGGING and settings.LOGGING_CONFIG:
        keep_handlers()


def _load(target: str) -> App:
    try:
        return App.load(target)
    except TasukiError as error:
        raise ImproperlyConfigured(f"TASUKI['APP']: {error}") from error


def _root() -> Path:
    """Where relative paths start: BASE_DIR of the settings, as ``startproject`` writes it; else the current folder."""
    return Path(getattr(settings, "BASE_DIR", None) or ".").resolve()


def prepare() -> Around:
    """Set Django up in a new process, with the settings that the environment names; see ``App.prepare_child``.

    Log records go to the worker, which has the handlers of ``LOGGING``.
    """
    settings.LOGGING_CONFIG = None
    set_up()
    return closing_connections
