"""Reload: apply the difference between two versions of a project while messages move."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tasuki.app.assembly import Assembly
from tasuki.kinds.project import Project
from tasuki.registry.changes import Changes, compare

if TYPE_CHECKING:
    from tasuki.app.app import App


async def apply_changes(app: App, project: Project) -> Changes:
    """Bring a running app to a new version; all or nothing.

    New handlers are compiled and new queues declared before anything running is touched. A consumer of which only the
    function changed goes on: what runs finishes with the old handler, what starts takes the new one.

    Raises:
        TasukiError: something of the new version cannot start; the old one goes on.
    """
    old = app.assembly
    assert old is not None
    changes = compare(old.project.registry, project.registry, project.edges)
    if not changes:
        return changes
    new = Assembly(project, clock=app.clock, keeper=app.keeper, old=old, changes=changes)
    try:
        await _prepare(new, old)
        app.assembly = new
        await _swap_services(app, new, old)
    except BaseException:
        app.assembly = old
        for consumer in old.consumers.values():
            consumer.host = old
        await new.stop_handlers(but=old.handlers.values())
        raise
    for id, consumer in new.consumers.items():
        if old.consumers.get(id) is consumer:
            consumer.replace_handler(new.handler_of(id))
    new.retire(old)
    return changes


async def _prepare(new: Assembly, old: Assembly) -> None:
    await asyncio.gather(
        *(handler.start() for id, handler in new.handlers.items() if handler is not old.handlers.get(id))
    )
    for id, queue in new.queues.items():
        if queue is not old.queues.get(id) and queue.driver in old.drivers.values():
            await queue.driver.declare(queue.spec)


async def _swap_services(app: App, new: Assembly, old: Assembly) -> None:
    """Remove what is gone, replace what changed as one change, add and start what is new."""
    supervisor = app.supervisor
    before, after = {**old.drivers, **old.consumers}, {**new.drivers, **new.consumers}
    specs = {spec.id: spec for spec in (*new.driver_specs(), *new.consumer_specs())}
    added = [id for id in after if id not in before]
    removed = [id for id in before if id not in after]
    for id in added:
        supervisor.add(specs[id])
    try:
        await supervisor.replace(*(specs[id] for id in after if id in before and before[id] is not after[id]))
        await supervisor.start([id for id in added if specs[id].auto_start])
    except BaseException:
        await supervisor.remove(*added)
        raise
    if removed:
        await supervisor.remove(*removed)
