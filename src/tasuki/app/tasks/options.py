"""Options of tasks and of their messages, as mypy and pyright check them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from tasuki.app.typed.options import Headers, PublishOptions
from tasuki.units import Duration

if TYPE_CHECKING:
    from tasuki.app.tasks.retries import Retries


class TaskOptions(PublishOptions, total=False):
    """Options of one message of a task."""

    headers: Headers


class TaskRules(TypedDict, total=False):
    """Rules of one task."""

    name: str | None
    retry: Retries | None
    timeout: Duration | None
    on_give_up: Callable[..., object] | None
