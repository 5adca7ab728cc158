"""Pauses and scales for the command line: which entry a name means, and how they are shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from tasuki.cli import loop
from tasuki.cli.exits import CommandError
from tasuki.cli.project import Target, refuse_private
from tasuki.cli.tools.control.acting import acting
from tasuki.errors import ConfigError

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.state import pausing
    from tasuki.kinds.check.project import Project

T = TypeVar("T")


def on_target(
    target: Target,
    name: str,
    work: Callable[[App, pausing.Target], Awaitable[T]],
    act: str,
    told: str = "done",
    *,
    options: str = "",
    only_consumers: bool = False,
) -> tuple[pausing.Target, T]:
    """What the name means, and the result of the work on it, which is an act. Raises CommandError.

    ``told``, ``options``: the result, and how it was to be done, in the audit.
    """
    from tasuki.app.state.pausing import find_target, queue_of

    app = target.load()
    project = app.check()
    try:
        found = find_target(project, name, ("consumer",)) if only_consumers else find_target(project, name)
    except ConfigError as error:
        raise CommandError(str(error)) from error
    queue = queue_of(project, found)
    refuse_private(project, queue)

    async def run() -> T:
        async with app._runtime.reading():
            try:
                async with acting(app, act, found.id, queue) as outcome:
                    outcome.result, outcome.options = told, options
                    return await work(app, found)
            except ValueError as error:
                raise CommandError(str(error)) from error

    return found, loop.run(run())


def pause_text(pause: Mapping[str, Any]) -> str:
    """``until 2026-12-24T18:00:00Z, by kana@host: the API answers 429``."""
    from tasuki.state.pauses import Pause

    return str(Pause(**pause))


async def orders_by_queue(app: App, project: Project, queues: Container[str]) -> dict[str, dict[str, Any]]:
    """The orders for each queue: ``paused`` of itself, and ``orders`` of its consumers and schedules by id.

    ``queues``: which queues the brokers have.

    A store that cannot be read now adds nothing: the counts are worth showing without it.
    """
    from tasuki.app.state.pausing import orders_of, queue_of
    from tasuki.errors import DriverError
    from tasuki.state.shared import SILENT

    found: dict[str, dict[str, Any]] = {}
    if app._runtime.assembly is None:
        return found
    try:
        async with asyncio.timeout(SILENT):
            orders = await orders_of(app._runtime.assembly, queues)
    except (DriverError, TimeoutError):
        return found
    for target, pause in orders.pauses.items():
        row = found.setdefault(queue_of(project, target), {})
        if target.kind == "queue":
            row["paused"] = pause.as_dict()
        else:
            row.setdefault("orders", {}).setdefault(target.id, {})["paused"] = pause.as_dict()
    for id, scale in orders.scales.items():
        row = found.setdefault(project.configs[id].queue, {})  # type: ignore[attr-defined]
        row.setdefault("orders", {}).setdefault(id, {})["concurrency"] = scale.concurrency
    return found


def lines_of(row: Mapping[str, Any]) -> list[str]:
    """What people read of a queue's orders, one line each."""
    lines = [f"{row['queue']} is paused {pause_text(row['paused'])}"] if "paused" in row else []
    for id, order in row.get("orders", {}).items():
        if "paused" in order:
            lines.append(f"{id} is paused {pause_text(order['paused'])}")
        if "concurrency" in order:
            lines.append(f"{id} is scaled to {order['concurrency']} in each process")
    return lines
