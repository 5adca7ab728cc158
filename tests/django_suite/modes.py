"""TasukiBackend in the two modes that Django's tests know, on a twin of an App.

``Immediate`` runs each task before ``enqueue`` returns; ``Dummy`` keeps results in a list and runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from tasuki import App
from tasuki.contrib.django.connections import closing_connections
from tasuki.contrib.django.tasks.backend import TasukiBackend
from tasuki.contrib.django.tasks.queues import declare_queues
from tasuki.contrib.django.tasks.results import TaskResultDoesNotExist
from tasuki.contrib.django.transactions import DjangoSync
from tasuki.testing import TestApp

APP = App("memory://")
APP.sync = DjangoSync(APP)
APP._runtime.around = closing_connections
KEPT: dict[str, Any] = {}
"""Results by id: Django makes a backend for each thread."""


class Mode(TasukiBackend):
    """Publishes to APP, and keeps the results here."""

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self.supports_priority = self.supports_get_result = True

    @property
    def app(self) -> App:
        return APP

    def save(self, result: Any) -> None:
        KEPT[result.id] = result

    def get_result(self, result_id: str) -> Any:
        if result_id not in KEPT:
            raise TaskResultDoesNotExist(result_id)
        return KEPT[result_id]


class Immediate(Mode):
    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        result = super().enqueue(task, args, kwargs)
        TWIN.sync.drain()
        for failure in TWIN.errors:
            if failure.message == result.id and isinstance(failure.error.__cause__, KeyboardInterrupt):
                raise failure.error.__cause__
        return self.get_result(result.id)


class Dummy(Mode):
    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self.results: list[Any] = []

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        return deepcopy(super().enqueue(task, args, kwargs))

    def save(self, result: Any) -> None:
        super().save(result)
        self.results.append(result)

    def get_result(self, result_id: str) -> Any:
        if all(result.id != result_id for result in self.results):
            raise TaskResultDoesNotExist(result_id)
        return super().get_result(result_id)

    def clear(self) -> None:
        self.results.clear()


declare_queues(APP, Mode("default", {"QUEUES": ["default", "queue-1", "queue_1"]}))
TWIN = TestApp(APP)
TWIN.__enter__()  # to the end of the process
