"""Messages that a reload would leave behind: the new driver of their queue does not hold them."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

from tasuki.contracts.driver import Driver, QueueSpec
from tasuki.errors import DriverError, LifecycleError, QueueNotFoundError
from tasuki.queues.queue import Queue

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly

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
