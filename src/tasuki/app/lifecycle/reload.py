"""Reload: apply the difference between two versions of a project while messages move, and leave none behind."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from tasuki.app.assembly import Assembly
from tasuki.app.lifecycle.driver_service import declare
from tasuki.contracts.driver import Driver, QueueSpec
from tasuki.errors import DriverError, LifecycleError, QueueNotFoundError, TasukiError
from tasuki.kinds.check.project import Project
from tasuki.queues.queue import Queue
from tasuki.registry.entry import Changes, compare

if TYPE_CHECKING:
    from tasuki.app.runtime import Runtime


_log = logging.getLogger("tasuki.app")


async def refuse_leaving(old: Assembly, new: Assembly) -> None:
    """Before the reload touches a service: look for messages on the drivers that will go.

    Raises:
        LifecycleError: messages wait in a queue whose new driver does not hold them.
    """
    running = set(old.drivers.values())
    waiting = {queue: count for queue in _moved(old, new) if (count := await _waiting(queue))}
    for before in {queue.driver for queue in waiting}:
        for after in {_driver_of(queue, new) for queue in waiting if queue.driver is before}:
            why = await _difference(before, after, is_open=after in running)
            if why:
                counts = {q: n for q, n in waiting.items() if q.driver is before and _driver_of(q, new) is after}
                raise _refusal(before, counts, why)


async def refuse_dropping(old: Assembly, new: Assembly) -> None:
    """After the old services have stopped: refuse if a driver that keeps its messages in this process is not empty.

    Raises:
        LifecycleError: messages were published since ``refuse_leaving``.
    """
    for driver in set(old.drivers.values()) - set(new.drivers.values()):
        if not driver.capabilities.multi_process:
            await driver.open()
            try:
                counts = {q: n for q in _moved(old, new) if q.driver is driver and (n := await _waiting(q))}
            finally:
                await driver.close()
            if counts:
                raise _refusal(driver, counts, "its messages end with it")


def _moved(old: Assembly, new: Assembly) -> list[Queue]:
    """The old queues that get another driver, or none while their own driver drops its messages."""
    kept = set(new.drivers.values())
    return [
        queue
        for id, queue in old.queues.items()
        if (
            new.queues[id].driver is not queue.driver
            if id in new.queues
            else queue.driver not in kept and not queue.driver.capabilities.multi_process
        )
    ]


def _driver_of(queue: Queue, assembly: Assembly) -> Driver | None:
    return assembly.queues[queue.id].driver if queue.id in assembly.queues else None


async def _waiting(queue: Queue) -> int:
    """How many messages a queue holds; 0 if its driver does not answer, as a restart would leave them behind too."""
    try:
        depth = await queue.driver.depth(queue.spec.name)
    except DriverError as error:
        _log.warning("queue %s: its old driver cannot count the waiting messages: %s", queue.id, error)
        return 0
    return depth.message_count


async def _difference(before: Driver, after: Driver | None, *, is_open: bool) -> str:
    """Why a driver does not hold the messages of another one; empty if it does, as it sees the other's queues."""
    if after is None or not before.capabilities.multi_process:
        return "its messages end with it"
    if type(after) is not type(before):
        return "the new driver keeps its messages elsewhere"
    probe = QueueSpec(f"reload.{uuid.uuid4().hex}", temporary=True)
    try:
        await after.open()
        try:
            return "" if await _sees(before, after, probe) else "the new driver keeps its messages elsewhere"
        finally:
            if not is_open:
                await after.close()
    except DriverError as error:
        return f"cannot find out whether the new driver holds them: {error}"


async def _sees(before: Driver, after: Driver, probe: QueueSpec) -> bool:
    """Whether one driver finds a queue that the other one makes."""
    await before.declare(probe)
    try:
        await after.inspect(probe)
    except QueueNotFoundError:
        return False
    else:
        await after.undeclare(probe.name)
        return True
    finally:
        await before.delete(probe.name)


def _refusal(driver: Driver, counts: dict[Queue, int], why: str) -> LifecycleError:
    queues = ", ".join(f"{count} in queue {queue.id!r}" for queue, count in counts.items())
    return LifecycleError(
        f"driver {driver.name!r} cannot be changed while messages wait ({queues}): {why}; let them be handled first, "
        "or keep this entry and give the new driver its own entry",
        service=driver.name,
    )


async def apply_changes(runtime: Runtime, old: Assembly, project: Project) -> Changes:
    """Bring a running app from ``old`` to a new version; all or nothing. For one task at a time.

    New handlers are compiled and new queues declared before any running service is touched. A consumer goes on if only
    its function changed: running deliveries finish with the old handler, later ones use the new one. A driver goes on
    unless its settings changed; then the new driver must hold the messages of the old one.

    Raises:
        TasukiError: something of the new version cannot start; the old one goes on.
    """
    changes = compare(old.project.registry, project.registry, project.edges)
    if not changes:
        return changes
    new = Assembly(project, clock=runtime.clock, keeper=runtime.keeper, old=old, changes=changes)
    _keep_counting(new, old)
    try:
        await _prepare(new, old)
        runtime.begin_measuring(new)
        runtime.assembly = new
        new.take_charge()
        await _swap_services(runtime, new, old)
    except BaseException:
        runtime.assembly = old
        old.take_charge()
        await _declare_again(new, old)
        await new.stop_handlers(but=[*old.handlers.values(), *([old.providers] if old.providers else [])])
        raise
    for id, consumer in new.consumers.items():
        handler = new.handler_of(id)
        if old.consumers.get(id) is consumer and handler is not consumer.handler:
            consumer.replace_handler(handler)
    await _replace_hooks(new, old)
    await new.retire(old)
    return changes


def _keep_counting(new: Assembly, old: Assembly) -> None:
    """Let counters go on where a queue, a consumer or a schedule is replaced: they must not fall.

    Both versions count in the same objects, since the old one goes on until it is replaced, or stays.
    """
    for id, consumer in new.consumers.items():
        if (before := old.consumers.get(id)) is not None and before.queue.id == consumer.queue.id:
            consumer.metrics = before.metrics
    for id, queue in new.queues.items():
        if (earlier := old.queues.get(id)) is not None and earlier is not queue:
            queue.count_on(earlier)
    kept = {consumer.metrics for consumer in new.consumers.values()}
    for consumer in old.consumers.values():
        if consumer.metrics not in kept and (left := new.queues.get(consumer.queue.id)) is not None:
            left.metrics.leave(consumer.metrics)
    ticks = {id: metrics for scheduler in old.schedulers.values() for id, metrics in scheduler.metrics.items()}
    for scheduler in new.schedulers.values():
        scheduler.metrics.update({id: ticks[id] for id in scheduler.metrics if id in ticks})


async def _replace_hooks(new: Assembly, old: Assembly) -> None:
    """Let the old hooks hear of what has happened; the new ones take over a worker that has started already."""
    if new.hooks is old.hooks:
        return
    if new.hooks is not None:
        is_consuming = any(consumer.now.is_consuming for consumer in new.consumers.values())
        new.hooks.has_started = is_consuming if old.hooks is None else old.hooks.has_started
    if old.hooks is not None:
        await old.hooks.finish()


async def _prepare(new: Assembly, old: Assembly) -> None:
    await refuse_leaving(old, new)
    fresh = [handler for id, handler in new.handlers.items() if handler is not old.handlers.get(id)]
    for error in await asyncio.gather(*(handler.start() for handler in fresh), return_exceptions=True):
        if error is not None:
            raise error
    for id, consumer in new.consumers.items():
        if consumer is old.consumers.get(id) and (guard := new.rights.consumer(id)) is not None:
            guard.consume(consumer.queue.id)
        for handler in new.functions_of(id):
            if handler in fresh:
                handler.decoder(consumer.queue.reader())  # fails here rather than at the first message
    for queue in _redefined(new, old):
        await declare(queue)


def _redefined(new: Assembly, old: Assembly) -> list[Queue]:
    """The new and changed queues of the drivers that go on."""
    drivers = set(old.drivers.values())
    return [queue for id, queue in new.queues.items() if queue is not old.queues.get(id) and queue.driver in drivers]


async def _declare_again(new: Assembly, old: Assembly) -> None:
    """Restore the old options of the changed queues, where the broker is available."""
    for queue in _redefined(new, old):
        before = old.queues.get(queue.id)
        if before is not None and before.driver is queue.driver:
            try:
                await before.driver.declare(before.spec)
            except TasukiError as error:
                _log.warning("queue %s keeps the options of the refused version: %s", queue.id, error)


async def _swap_services(runtime: Runtime, new: Assembly, old: Assembly) -> None:
    """Replace changed services as one step, add and start new ones; then, past the point of return, remove old ones."""
    supervisor = runtime.supervisor
    before, after = old.supervised, new.supervised
    specs, old_specs = new.specs(), old.specs()
    added = [id for id in after if id not in before]
    changed = [id for id in after if id in before and before[id] is not after[id]]
    kept = [id for id in after if id in before and before[id] is after[id]]
    for id in added:
        supervisor.add(specs[id])
    is_replaced = False
    try:
        supervisor.update(*(specs[id] for id in kept))
        await supervisor.replace(*(specs[id] for id in changed), check=lambda: refuse_dropping(old, new))
        is_replaced = True
        # An app that only publishes has drivers, and no consumer or scheduler that runs.
        starting = [id for id in (*added, *changed) if runtime.works or id in new.drivers]
        await supervisor.start([id for id in starting if specs[id].auto_start])
    except BaseException:
        supervisor.update(*(old_specs[id] for id in kept))
        if is_replaced:
            await _try_to(supervisor.replace(*(old_specs[id] for id in changed)))
        await _try_to(supervisor.remove(*added))
        raise
    await _try_to(supervisor.remove(*(id for id in before if id not in after)))


async def _try_to(step: Coroutine[Any, Any, None]) -> None:
    """Log a failure, and go on: the reload is decided, and unfinished messages were released."""
    try:
        await step
    except LifecycleError as error:
        _log.warning("%s", error)
