"""Host: the parts of a project that a running handler can use; the application implements it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

from tasuki.contracts.context import Permissions, Plain
from tasuki.contracts.handler import Context
from tasuki.contracts.state.following import Later, StartedGroup
from tasuki.contracts.state.jobs import CancelOutcome
from tasuki.flow.group_records import MemberEnd
from tasuki.message import HeaderValue, Message
from tasuki.units import When

if TYPE_CHECKING:
    from tasuki.queues.queue import Queue
    from tasuki.security.guard import Guard


FullId = Callable[[str], str]
"""The full id of a queue that is named in a function."""


class Variables(Protocol):
    """The declared environment variables; bare names are of the ``namespace``."""

    def get(self, name: str, namespace: str) -> str | None:
        """The value of a variable."""

    def set(self, name: str, value: str, namespace: str) -> None:
        """Give a variable a value."""

    def names(self, name: str, namespace: str) -> Sequence[str]:
        """All names of a variable."""

    def all(self, namespace: str) -> Mapping[str, str]:
        """Every variable that handlers can know of, with its value."""


class Host(Protocol):
    """The rest of the project, by full id."""

    @property
    def settings(self) -> Variables:
        """Its environment variables."""

    async def publish_from(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None, options: Mapping[str, Any]
    ) -> str:
        """Publish; returns the message id."""

    async def chain_from(
        self,
        guard: Guard | None,
        full_id: FullId,
        queue: str,
        body: Any,
        headers: Mapping[str, HeaderValue] | None,
        options: Mapping[str, Any],
    ) -> str:
        """Publish a message with ``then`` or ``on_error``, with these rights (None: all); returns its id."""

    async def group_from(
        self,
        guard: Guard | None,
        full_id: FullId,
        members: Sequence[Later],
        then: Later | str | None,
        on_error: Later | str | None,
        id: str | None,
    ) -> StartedGroup:
        """Publish a group, with these rights (None: all)."""

    def reply_queue(self, name: str, request: Queue, guard: Guard | None) -> AbstractAsyncContextManager[Queue]:
        """The queue for replies to messages of ``request``, by the name in their header; for use within the block.

        Raises:
            QueueNotFoundError: no such queue is declared.
            RequesterGoneError: the requester's own reply queue is gone; also where the block raises QueueNotFoundError.
            PolicyDeniedError: this guard does not allow publishing there.
            DriverError: the reply queue of another process cannot be reached now.
        """

    async def end_member(self, header: object, ended: MemberEnd) -> None:
        """Record how a message of a group has ended, and publish what follows. Raises DriverError: try it again."""

    async def keep_member(self, queue: str, message: Message, seconds: float) -> None:
        """Keep the group of a message although the message pauses for so long. Raises DriverError: try it again."""

    async def call_from(self, context: Context | None, function: str, args: Sequence[Any]) -> Any:
        """Call a function entry within the context of its caller."""

    def has_function(self, id: str) -> bool:
        """Whether there is a function entry of this id."""

    async def info_of(self, queue: str) -> Mapping[str, Any]:
        """Counts of a queue."""

    async def cancel_from(self, guard: Guard | None, queue: str, id: str) -> CancelOutcome:
        """Cancel a message, with these rights; None: all."""

    async def signal_from(self, guard: Guard | None, actor: str, event: str, key: str | int, value: Any) -> bool:
        """Give a signal, with these rights; None: all."""

    async def pause_from(
        self, queue: str, due: When | None, reason: str, guard: Guard | None, actor: str
    ) -> Mapping[str, Any]:
        """Pause a queue with these rights; returns the pause in force, which may be one that ends later.

        Raises:
            PolicyDeniedError, QueueNotFoundError, UnsupportedError (the queue has no state), DriverError, ValueError.
        """

    async def resume_from(self, queue: str, guard: Guard | None, actor: str) -> bool:
        """End the pause of a queue; whether there was one. Raises as ``pause_from``."""

    def resource_of(self, id: str) -> Any:
        """The object behind a resource entry."""

    def wait_for(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of a coroutine that runs on the loop of the drivers; from a thread without a loop."""

    def permissions_of(self, guard: Guard | None) -> Permissions:
        """The permissions behind a guard; None: all."""

    def guard_as(self, guard: Guard | None, actor: Plain | None, scope: Sequence[str] | None) -> Guard:
        """The guard of another actor or scope; None: as in ``guard``. Raises HandlerError: no such policy."""
