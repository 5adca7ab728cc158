"""Opening: start the drivers, and distinguish an unavailable broker from one that can never be opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from tasuki.clock import Clock
from tasuki.errors import BrokerUnavailableError
from tasuki.supervisor.spec import State, is_worth_waiting
from tasuki.supervisor.supervisor import Supervisor

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly


def supervisor_of(assembly: Assembly, clock: Clock, *, reads_only: bool, is_brief: bool) -> Supervisor:
    """The supervisor of all services of an assembly.

    ``reads_only``: the drivers must make and change nothing; ``is_brief``: they are opened for one act, which raises
    what fails, so neither that nor their settings are logged.
    """
    assembly.states.only_read(reads_only)
    supervisor = Supervisor(clock=clock, is_brief=is_brief)
    for service in assembly.services.values():
        service.reads_only, service.is_brief = reads_only, is_brief
    for spec in assembly.specs().values():
        supervisor.add(spec)
    return supervisor


@asynccontextmanager
async def lifespan_of(block: AbstractAsyncContextManager[object]) -> AsyncIterator[None]:
    """The block, as ASGI frameworks expect it: without a value."""
    async with block:
        yield


@asynccontextmanager
async def naming_causes(supervisor: Supervisor) -> AsyncIterator[None]:
    """A block whose call to a driver that is not open fails with the reason why it could not be opened."""
    try:
        yield
    except BrokerUnavailableError as error:
        status = supervisor.states().get(error.driver)
        if status is None or not isinstance(status.error, BrokerUnavailableError) or "is not open" not in str(error):
            raise
        raise status.error from error


async def open_drivers(supervisor: Supervisor, ids: Sequence[str]) -> None:
    """Return when each driver is open or has failed once; the supervisor retries the failed ones.

    Raises:
        LifecycleError: a driver cannot be opened, and a retry would not help.
    """
    tried: set[str] = set()

    def all_tried(states: Mapping[str, State]) -> bool:
        tried.update(id for id in ids if states[id] is State.RUNNING or _is_away(supervisor, id))
        return len(tried) == len(ids)

    opening = asyncio.create_task(supervisor.start(ids), name="open drivers")
    opening.add_done_callback(lambda task: task.cancelled() or task.exception())
    trying = asyncio.create_task(supervisor.until(all_tried), name="try drivers")
    try:
        await asyncio.wait([opening, trying], return_when=asyncio.FIRST_COMPLETED)
    finally:
        trying.cancel()
    if opening.done():
        opening.result()


def _is_away(supervisor: Supervisor, id: str) -> bool:
    status = supervisor.states()[id]
    return status.state is State.FAILED and status.error is not None and is_worth_waiting(status.error)
