"""Signalling: give the signals that messages of an app wait for."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tasuki.app.state.finding import needed_state
from tasuki.errors import DriverError, QueueNotFoundError
from tasuki.flow.signals import Waiter, give, packed_value, topic_of, waiters_of, wake

if TYPE_CHECKING:
    from tasuki.app.host import ProjectHost
    from tasuki.queues.queue import Queue
    from tasuki.security.guard import Guard
    from tasuki.state.shared import SharedState

_log = logging.getLogger("tasuki.app")


class Signalling:
    """Gives signals within one project. ``guard``: the rights of who acts; None: all. ``actor``: who, for the log."""

    def __init__(self, host: ProjectHost, guard: Guard | None, actor: str) -> None:
        self._host = host
        self._guard = guard
        self._actor = guard.actor.id if guard is not None and guard.actor is not None else actor

    async def signal(self, event: str, key: str | int, value: Any) -> bool:
        """See :meth:`tasuki.App.signal`."""
        topic = topic_of(event, key)
        if self._guard is not None:
            self._guard.require("queue.signal", topic.name, f"not allowed to signal: {topic.name}")
        raw = packed_value(topic, value)
        is_first, woken = False, 0
        for state, queues in self._states().items():
            store = await state.store()
            is_first |= await give(store, topic, raw, self._actor)
            woken += await _wake(queues, await waiters_of(store, topic))
        _log.info("signal %s for %s: %s, %d waiting", topic.name, topic.key, "given" if is_first else "given before",
                  woken, extra={"signal": topic.name, "key": topic.key, "actor": self._actor})  # fmt: skip
        return is_first

    def _states(self) -> dict[SharedState, list[Queue]]:
        """The states of the project, each with its queues. Raises UnsupportedError: no queue has one."""
        found: dict[SharedState, list[Queue]] = {}
        for id, queue in self._host.queues.items():
            if (state := self._host.state_of(id)) is not None:
                found.setdefault(state, []).append(queue)
        if not found:
            if not self._host.queues:
                raise QueueNotFoundError("the project has no queue", queue="")
            needed_state(self._host, next(iter(self._host.queues)), "a signal")
        return found


async def _wake(queues: Iterable[Queue], waiters: Iterable[Waiter]) -> int:
    """Let the messages come now that wait in these queues; how many wait. One that is not woken looks by itself."""
    drivers = {queue.spec.name: queue for queue in queues}
    ids: dict[str, list[str]] = {}
    for waiter in waiters:
        ids.setdefault(waiter.queue, []).append(waiter.id)
    for name, found in ids.items():
        if (queue := drivers.get(name)) is None:
            continue
        try:
            await wake(queue.driver, name, found)
        except DriverError as error:
            _log.warning("cannot wake %d messages of queue %s that wait for a signal; they look for it within a "
                         "minute: %s", len(found), queue.id, error)  # fmt: skip
    return sum(map(len, ids.values()))
