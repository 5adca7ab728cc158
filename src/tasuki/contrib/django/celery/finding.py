"""Finds shared tasks outside of ``tasks.py``: in any module that the views of the project import."""

from __future__ import annotations

import sys
from importlib import import_module

from django.conf import settings

_TASKS = f"{__package__}.task"


def import_views() -> None:
    """Import the URLs of the project, with all views, if it has shared tasks at all. Idempotent.

    A web server imports the views when it starts, and its requests publish the tasks that are declared there. A worker
    must know these tasks too. Celery's workers find them because they run Django's checks, which import the URLs.
    """
    urls = getattr(settings, "ROOT_URLCONF", None)
    if _TASKS in sys.modules and urls:
        import_module(urls)
