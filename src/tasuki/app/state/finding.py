"""Which store keeps the state of a queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tasuki.contracts.driver import Driver
from tasuki.contracts.state.store import Store
from tasuki.errors import QueueNotFoundError, UnsupportedError
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.lifecycle import DriverConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.entries.store import DriverStoreConfig
from tasuki.state.shared import SharedState, States

if TYPE_CHECKING:
    from tasuki.app.host import ProjectHost
    from tasuki.queues.queue import Queue


def state_of(project: Project, drivers: Mapping[str, Driver], states: States, queue: str) -> SharedState | None:
    """The state of a queue: in the store that it or its driver names, else in its driver's; None: there is none."""
    config = project.configs[queue]
    assert isinstance(config, QueueConfig)
    on = project.configs[config.driver]
    assert isinstance(on, DriverConfig)
    if (named := config.state or on.state) is not None:
        store = project.configs[named]
        assert isinstance(store, DriverStoreConfig)
        return states.of(drivers[store.driver], store.store_name or named)
    driver = drivers[config.driver]
    return states.of(driver) if driver.capabilities.has("store") else None


def needed_state(host: ProjectHost, queue: str, what: str) -> SharedState:
    """The state of a queue. Raises UnsupportedError: it has none, and ``what`` needs one."""
    state = host.state_of(queue)
    if state is None:
        driver = host.queue(queue).driver.name
        raise UnsupportedError(
            f"queue {queue!r} has no state, which {what} needs: its driver {driver!r} has no store; write "
            f"'state: <id of a store>' at the queue or at the driver",
            driver=driver,
            queue=queue,
        )
    return state


async def store_for(host: ProjectHost, queue: str, what: str) -> Store:
    """The open store of a queue's state. Raises UnsupportedError: see ``needed_state``; DriverError."""
    return await needed_state(host, queue, what).store()


async def states_there(host: ProjectHost) -> list[SharedState]:
    """The states of all queues, each once, as far as they are there. Raises DriverError: a broker is unavailable."""
    states = dict.fromkeys(state for id in host.queues if (state := host.state_of(id)) is not None)
    return [state for state in states if await is_there(host, state)]


async def is_there(host: ProjectHost, state: SharedState) -> bool:
    """Whether a state was made: reading makes no store. It is in memory, open here, or one of its queues exists.

    Raises DriverError: a broker is unavailable.
    """
    if state.opened is not None or not state.driver.capabilities.multi_process:
        return True
    for id, queue in host.queues.items():
        if host.state_of(id) is state and await _exists(queue):
            return True
    return False


async def _exists(queue: Queue) -> bool:
    try:
        await queue.driver.inspect(queue.spec)
    except QueueNotFoundError:
        return False
    return True
