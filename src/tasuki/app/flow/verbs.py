"""Following: the half of an App that publishes messages which others follow, and signals that messages wait for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tasuki.errors import TasukiError
from tasuki.observe.tracebacks import cause_for_user, for_user

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.app.flow.groups import Grouping
    from tasuki.app.handle import QueueHandle
    from tasuki.contracts.state.following import Follower, Later, StartedGroup


class Following:
    """Publishes groups and chains, and gives signals."""

    async def group(
        self,
        members: Iterable[Later],
        *,
        then: Follower | None = None,
        on_error: Follower | None = None,
        id: str | None = None,
    ) -> StartedGroup:
        """Publish messages that belong together, and one message when all of them are done.

        ``then`` and ``on_error`` are messages as they are (``jobs.message(body)``, ``total.message(1)``), or a queue
        (also by name) or a task: its body, or its first argument, is the list of the results in the order of the
        members; of ``on_error`` a dict with ``group``, ``kind``, ``message`` and ``retryable``.

        Args:
            members: messages of any queues: ``jobs.message(body)``, of a task ``send.message(url)``.
            then: published once, under the id ``group:<id>``, when all are done. Without members, at once.
            on_error: published once when the first one is given up: dead-lettered, discarded or cancelled.
            id: of the group; default a new one. A group that was started only in part is started again under its id.

        Raises:
            UnsupportedError: no queue of it has a state. PublishError: a message cannot be part of a group.
            PolicyDeniedError, QueueNotFoundError. DriverError: not all members may be published; start it again.
        """
        try:
            return await self._grouping().start(members, then, on_error, id)
        except TasukiError as error:
            raise for_user(error) from cause_for_user(error)

    async def signal(self, event: str, key: str | int, value: Any = True, *, actor: str | None = None) -> bool:
        """Give the value that messages wait for with ``context.wait_for(event, key, …)``; it may come before them.

        It goes into the state of all queues, and stays for 30 days. The first signal of an event and key counts.
        Waiting messages come at once on memory, SQLite, PostgreSQL and Redis; elsewhere they look for it, at first
        every second and later every minute.

        Args:
            event: its name, such as ``"approved"``: printable text.
            key: which case it is about, such as the number of an order.
            value: plain data of at most 64 KiB.
            actor: who, for the log; default the actor of the application, or the user and the host.

        Returns whether it is the first one.

        Raises:
            HandlerError: kind Invalid: the value is no plain data or too large, or the event or the key is none.
            PolicyDeniedError: the application may not. UnsupportedError: no queue has a state.
            DriverError: a store cannot be reached; signal again.
        """
        from tasuki.system.process import user_and_host

        live = self._live()
        return await live.signal_from(live.rights.application, actor or user_and_host(), event, key, value)

    def _grouping(self) -> Grouping:
        from tasuki.app.flow.groups import Grouping

        live = self._live()
        return Grouping(live, live.rights.application, self.full_id)

    def full_id(self, queue: str | QueueHandle[Any]) -> str:
        """The id of a queue."""
        raise NotImplementedError

    def _live(self) -> Assembly:
        raise NotImplementedError
