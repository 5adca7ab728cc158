"""The hooks of a project's entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tasuki.errors import HandlerError
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.function import HookConfig
from tasuki.kinds.functions import load_function

if TYPE_CHECKING:
    from tasuki.app.hooks.hook import Hook
    from tasuki.app.hooks.hooks import Hooks
    from tasuki.contracts.observer import MomentName
    from tasuki.queues.queue import Queue


def build_hooks(project: Project, queue: Callable[[str], Queue]) -> Hooks | None:
    """All hooks, imported; None: there are none. ``queue``: the queue of an id.

    Raises:
        HandlerError: one cannot be imported, or cannot be called with a moment.
    """
    configs = project.of(HookConfig)
    if not configs:
        return None
    from tasuki.app.hooks.hooks import Hooks

    hooks: dict[MomentName, list[Hook]] = {}
    for id, config in configs.items():
        hooks.setdefault(config.moment, []).append(_hook(project, id, config))
    return Hooks(hooks, queue)


def _hook(project: Project, id: str, config: HookConfig) -> Hook:
    from tasuki.app.hooks.hook import Hook

    function = load_function(project, id)
    try:
        return Hook(id, function, queue=config.queue, task=config.task)
    except TypeError as error:
        raise HandlerError(f"hook {id!r}: {error}", kind="Invalid") from error
