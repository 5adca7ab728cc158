"""A program that declares consumers, and ends without having started them: a warning says how to."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasuki.app.app import App

_log = logging.getLogger("tasuki.app")


def note_at_exit(app: App, file: str) -> None:
    """Log a warning at exit if the file of an App is the program itself and no consumer of the App ever started."""
    if file == getattr(sys.modules.get("__main__"), "__file__", None):
        atexit.register(_note, weakref.ref(app), file)


def _note(reference: weakref.ref[App], file: str) -> None:
    app = reference()
    if app is None or app.has_consumed or app.owner is not None or hasattr(sys, "last_type"):
        return  # ``last_type``: an error ended the program
    if consumer := app.first_consumer():
        _log.warning(
            "%s ends, and consumer %s never ran in it: messages wait for a worker; start one: tasuki run %s, "
            "or consume within 'async with app.worker()'",
            os.path.basename(file),
            consumer,
            os.path.relpath(file),
        )
