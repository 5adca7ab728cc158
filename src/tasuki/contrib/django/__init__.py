"""Tasuki in Django: put ``tasuki.contrib.django`` into INSTALLED_APPS, and declare queues in any ``tasks.py``.

``queue``: a queue of the project's App · ``app``: the App itself · ``atomic``: a transaction that acks the message of a
handler · ``TasukiBackend``: for the setting TASKS.
"""

from __future__ import annotations

from types import UnionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki import App, QueueHandle
    from tasuki.app.typed.entries import QueueFields
    from tasuki.app.typed.options import Named
    from tasuki.contrib.django.tasks.backend import TasukiBackend
    from tasuki.contrib.django.transactions import atomic

    app: App
    """The project's App, made from the setting TASUKI when it is first used."""

__all__ = ["TasukiBackend", "app", "atomic", "queue"]


def queue(name: str, body: type[Named] | UnionType | None = None, **fields: Unpack[QueueFields]) -> QueueHandle[Named]:
    """Declare a queue of the project's App, or get it; see :meth:`tasuki.App.queue`.

    Within a transaction of Django, ``send`` of its tasks and ``app.sync.publish`` belong to the transaction.
    """
    from tasuki.contrib.django.project import project_app

    return project_app().queue(name, body, **fields)


def __getattr__(name: str) -> Any:
    # Not at the top: Django imports this package before the settings and models can be used.
    if name == "app":
        from tasuki.contrib.django.project import set_up
        from tasuki.contrib.django.tasks.queues import whole_app

        set_up()
        try:
            return whole_app()
        except AttributeError as error:  # Python drops it where the name is imported
            raise ImportError(f"the App of the project cannot be made: {type(error).__name__}: {error}") from error
    if name == "atomic":
        from tasuki.contrib.django.transactions import atomic

        return atomic
    if name == "TasukiBackend":
        from tasuki.contrib.django.tasks.backend import TasukiBackend

        return TasukiBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
