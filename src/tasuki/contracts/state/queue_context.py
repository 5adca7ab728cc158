"""Groups of a handler's context: whole queues, and the rest of the project."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tasuki.contracts.state.following import Follower, PlainMessage, message_to
from tasuki.units import Duration, one_of

if TYPE_CHECKING:
    from typing import Unpack

    from tasuki.contracts.context import MessageOptions, Reach
    from tasuki.contracts.permissions import Permissions
    from tasuki.contracts.state.jobs import CancelOutcome
    from tasuki.message import HeaderValue


class ContextQueues:
    """``context.queues``: reads, pauses and resumes queues, and cancels their messages."""

    __slots__ = ("_reach",)

    def __init__(self, reach: Reach[Any]) -> None:
        self._reach = reach

    async def info(self, queue: str) -> Mapping[str, Any]:
        """``message_count``, ``ready``, ``in_flight``, ``delayed``, ``consumer_count`` of a queue by id.

        ``paused`` is there only while the queue is paused: ``until`` (Unix seconds, or None), ``actor``, ``at``,
        ``reason``.
        """
        return await self._reach.info(queue)

    async def pause(
        self, queue: str, duration: Duration | None = None, *, until: datetime | None = None, reason: str = ""
    ) -> Mapping[str, Any]:
        """Let all workers stop receiving from a queue: for a ``duration``, ``until`` a time, or until it is resumed.

        Running handlers end; the message of this one is settled as it says. A pause that ends later stays in force, so
        that a handler never shortens an operator's pause. Returns the pause in force, as ``info`` has it.

        Raises:
            ValueError: the time is over or has no time zone, or both are given.
            PolicyDeniedError, QueueNotFoundError, DriverError. UnsupportedError: the queue has no state.
        """
        return await self._reach.pause(queue, one_of("duration", duration, until, "until"), reason)

    async def resume(self, queue: str) -> bool:
        """End the pause of a queue; whether there was one. Raises as ``pause``."""
        return await self._reach.resume(queue)

    async def cancel(self, id: str, *, queue: str) -> CancelOutcome:
        """Cancel a message of a queue by id; see :meth:`tasuki.App.cancel`.

        Raises:
            PolicyDeniedError: the actor may not.
            UnsupportedError: the queue has no state.
            DriverError: its store cannot be reached.
        """
        return await self._reach.cancel(queue, id)

    def message_to(
        self,
        queue: str,
        body: Any,
        headers: Mapping[str, HeaderValue] | None = None,
        *,
        then: Follower | None = None,
        on_error: Follower | None = None,
        **options: Unpack[MessageOptions],
    ) -> PlainMessage:
        """A message to a queue by id, for ``group``, ``then`` or ``on_error``.

        ``options``: delay, at, ttl, priority, key, id. Where you have the queue or the task itself, write
        ``jobs.message(body)`` or ``send.message(url)``.
        """
        return message_to(queue, body, headers, {**options, "then": then, "on_error": on_error})


class ContextProject:
    """``context.project``: environment variables, resources and rights."""

    __slots__ = ("_reach",)

    def __init__(self, reach: Reach[Any]) -> None:
        self._reach = reach

    @property
    def permissions(self) -> Permissions | None:
        """The rights of the actor; None where no rights are kept."""
        return self._reach.permissions

    def check_call(self, function: str) -> None:
        """Return if there is such a function and it may be called; raises what ``call`` would raise then."""
        self._reach.check_call(function)

    def resource(self, id: str) -> Any:
        """The object behind a resource entry of another package's kind; of a store, see ``store``.

        Raises:
            HandlerError: kind NotFound.
        """
        return self._reach.resource(id)

    def env(self, name: str) -> str | None:
        """Value of a declared environment variable (public name first, then entry id), or None.

        Raises:
            HandlerError: its file is not UTF-8 (kind Invalid), or cannot be read (Unavailable).
        """
        return self._reach.env(name)

    def set_env(self, name: str, value: str) -> None:
        """Give a declared environment variable a value.

        Raises:
            HandlerError: kind NotFound: it is not declared; PermissionDenied: it is read-only, or its storage is.
        """
        self._reach.set_env(name, value)

    def env_all(self) -> Mapping[str, str]:
        """The environment variables that may be read: those declared, and what else their storages hold."""
        return self._reach.env_all()
