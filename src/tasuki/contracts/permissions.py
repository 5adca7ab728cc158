"""Permissions: a handler's questions about its own rights and about policies; in plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Plain = Mapping[str, Any]


class Permissions(Protocol):
    """The rights of one actor. Actors are mappings of ``id`` and ``meta``; scopes are the ids of their policies."""

    def actor(self) -> Plain | None:
        """The actor; None: without one."""

    def scope(self) -> Sequence[str] | None:
        """The policies in force; None: there is no scope."""

    def can(self, action: str, resource: str, meta: Plain | None = None) -> bool:
        """Whether the scope allows it; False where there is no actor or scope, strict or not."""

    def require(self, action: str, resource: str, problem: str) -> None:
        """Return if it is allowed. Raises PolicyDeniedError with ``problem`` as its message; it is logged."""

    def publish(self, queue: str) -> None:
        """Return if publishing to the queue is allowed. Raises PolicyDeniedError; it is logged."""

    def has_policy(self, id: str) -> bool:
        """Whether the project has a policy of this id."""

    def group(self, id: str) -> Sequence[str] | None:
        """The policies of a group; None: there is none of this id."""

    def evaluate(
        self, policies: Sequence[str], actor: Plain, action: str, resource: str, meta: Plain | None = None
    ) -> str:
        """What policies say together about an actor: allow, deny or undefined; unknown ones say nothing."""
