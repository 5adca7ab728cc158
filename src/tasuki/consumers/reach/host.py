"""Host: what a running handler can reach beyond its own delivery; the application implements it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

from tasuki.contracts.handler import Context
from tasuki.contracts.permissions import Permissions, Plain
from tasuki.message import HeaderValue

if TYPE_CHECKING:
    from tasuki.queues.queue import Queue
    from tasuki.security.guard import Guard


class Host(Protocol):
    """The rest of the project, by full id."""

    async def publish_from(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None, options: Mapping[str, Any]
    ) -> str:
        """Publish; returns the message id."""

    def reply_queue(self, name: str, request: Queue, guard: Guard | None) -> AbstractAsyncContextManager[Queue]:
        """Where the reply to a message of queue ``request`` goes, by the name in its header; for within the block.

        Raises:
            QueueNotFoundError: no such queue is declared.
            RequesterGoneError: the requester's own reply queue is gone; also where the block raises QueueNotFoundError.
            PolicyDeniedError: whoever has this guard may not publish there.
            DriverError: the reply queue of another process cannot be reached now.
        """

    async def call_from(self, context: Context | None, function: str, args: Sequence[Any]) -> Any:
        """Call a function entry within the context of its caller."""

    def has_function(self, id: str) -> bool:
        """Whether there is a function entry of this id."""

    async def info_of(self, queue: str) -> Mapping[str, Any]:
        """Counts of a queue."""

    def resource_of(self, id: str) -> Any:
        """The object behind a resource entry."""

    def permissions_of(self, guard: Guard | None) -> Permissions:
        """The permissions of whoever has this guard."""

    def guard_as(self, guard: Guard | None, actor: Plain | None, scope: Sequence[str] | None) -> Guard:
        """The guard of somebody else; what is None stays as ``guard`` has it. Raises HandlerError: no such policy."""

    def env_of(self, name: str, namespace: str) -> str | None:
        """Value of a declared environment variable."""

    def set_env_of(self, name: str, value: str, namespace: str) -> None:
        """Give a declared environment variable a value."""

    def names_of_env(self, name: str, namespace: str) -> Sequence[str]:
        """All names that a declared environment variable answers to."""

    def env_names(self, namespace: str) -> Mapping[str, str]:
        """Every environment variable that handlers can know of, with its value."""
