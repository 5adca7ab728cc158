"""Django in the processes of ``isolation: process``."""

from __future__ import annotations

from django.conf import settings

from tasuki.contracts.context import Around
from tasuki.contrib.django.connections import closing_connections
from tasuki.contrib.django.project import set_up


def prepare() -> Around:
    """Set Django up in a new process, with the settings that the environment names; see ``App.prepare_child``.

    Log records go to the worker, which has the handlers of ``LOGGING``.
    """
    settings.LOGGING_CONFIG = None
    set_up()
    return closing_connections
