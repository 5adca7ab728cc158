"""Following: the half of an App that publishes messages which others follow, and signals that messages wait for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from tasuki.errors import PublishError

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.app.flow.groups import Grouping, StartedGroup
    from tasuki.app.flow.planned import Planned
    from tasuki.app.handle import QueueHandle
    from tasuki.app.tasks.task import Sender
    from tasuki.app.typed.options import ChainOptions, PublishOptions
    from tasuki.queues.result import Confirmed


Followers = tuple[object, object]
"""``then`` and ``on_error``."""


def without_followers(options: ChainOptions) -> tuple[PublishOptions, Followers | None]:
    """The options of one message, and what follows it; None: nothing."""
    left: dict[str, Any] = dict(options)
    found = left.pop("then", None), left.pop("on_error", None)
    return cast("PublishOptions", left), None if found == (None, None) else found


class Following:
    """Publishes groups and chains, and gives signals."""

    async def group(
        self,
        members: Iterable[Planned],
        *,
        then: Planned | QueueHandle[Any] | Sender[..., Any] | None = None,
        on_error: Planned | QueueHandle[Any] | Sender[..., Any] | None = None,
        id: str | None = None,
    ) -> StartedGroup:
        """Publish messages that belong together, and one message when all of them are done.

        ``then`` and ``on_error`` are messages as they are (``jobs.message(body)``, ``total.message(1)``), or a queue or
        a task: its body, or its first argument, is the list of the results in the order of the members; of ``on_error``
        a dict with ``group``, ``kind``, ``message`` and ``retryable``.

        Args:
            members: messages of any queues: ``jobs.message(body)``, of a task ``send.message(url)``.
            then: published once, under the id ``group:<id>``, when all are done. Without members, at once.
            on_error: published once when the first one is given up: dead-lettered, discarded or cancelled.
            id: of the group; default a new one. A group that was started only in part is started again under its id.

        Raises:
            UnsupportedError: no queue of it has a state. PublishError: a message cannot be part of a group.
            PolicyDeniedError, QueueNotFoundError. DriverError: not all members may be published; start it again.
        """
        from tasuki.app.flow.planned import follower, members_of

        found, last, failed = members_of(members), follower("then", then), follower("on_error", on_error)
        return await self._grouping(*found, last, failed).start(found, last, failed, id)

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
        from tasuki.app.flow.signalling import Signalling
        from tasuki.system.identity import user_and_host

        live = self._live()
        return await Signalling(live, live.rights.application, actor or user_and_host()).signal(event, key, value)

    async def _publish_chain(
        self, queue: str, body: Any, headers: Any, options: Mapping[str, Any], next_: Followers
    ) -> Confirmed:
        """Publish a message with ``then`` or ``on_error``."""
        from tasuki.app.flow.planned import planned
        from tasuki.queues.queue import PUBLISH_TIMEOUT

        left = dict(options)
        timeout = left.pop("timeout", PUBLISH_TIMEOUT)
        if left.pop("connection", None) is not None:
            raise PublishError("then and on_error cannot be part of a transaction: publish without connection")
        message = planned(queue, body, headers, {**left, "then": next_[0], "on_error": next_[1]})
        return await self._grouping(message).publish(message, timeout)

    def _grouping(self, *messages: Planned | None) -> Grouping:
        from tasuki.app.flow.groups import Grouping
        from tasuki.app.flow.planned import queues_of

        return Grouping(self._live(), {name: self.full_id(name) for name in queues_of(*messages)})

    def full_id(self, queue: str | QueueHandle[Any]) -> str:
        """The id of a queue."""
        raise NotImplementedError

    def _live(self) -> Assembly:
        raise NotImplementedError
