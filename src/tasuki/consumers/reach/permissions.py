"""The permissions of a running function: its guard, and the policies of the project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

from tasuki.contracts.context import Plain
from tasuki.security.actor import NO_META, PolicyRequest, read_actor
from tasuki.security.guard import Guard
from tasuki.security.policy import Policy, Scope

_NOBODY = Guard()


class GuardedPermissions:
    """See :class:`tasuki.contracts.context.Permissions`."""

    def __init__(self, guard: Guard | None, policies: Mapping[str, Policy], groups: Mapping[str, Scope]) -> None:
        self._guard = guard or _NOBODY
        self._policies = policies
        self._groups = groups

    def actor(self) -> Plain | None:
        """Who acts: a copy, which changes nothing."""
        actor = self._guard.actor
        return None if actor is None else {"id": actor.id, "meta": deepcopy(dict(actor.meta))}

    def scope(self) -> Sequence[str] | None:
        """The policies in force."""
        scope = self._guard.scope
        return None if scope is None else [policy.id for policy in scope.policies]

    def can(self, action: str, resource: str, meta: Plain | None = None) -> bool:
        """Whether the scope allows it."""
        has_both = self._guard.actor is not None and self._guard.scope is not None
        return has_both and self._guard.decide(action, resource, meta).allowed

    def require(self, action: str, resource: str, problem: str) -> None:
        """Return if it is allowed."""
        self._guard.require(action, resource, problem)

    def publish(self, queue: str) -> None:
        """Return if publishing to the queue is allowed."""
        self._guard.publish(queue)

    def has_policy(self, id: str) -> bool:
        """Whether there is a policy of this id."""
        return id in self._policies

    def group(self, id: str) -> Sequence[str] | None:
        """The policies of a group."""
        scope = self._groups.get(id)
        return None if scope is None else [policy.id for policy in scope.policies]

    def evaluate(
        self, policies: Sequence[str], actor: Plain, action: str, resource: str, meta: Plain | None = None
    ) -> str:
        """What policies say together about an actor."""
        scope = Scope(self._policies[id] for id in policies if id in self._policies)
        return scope.evaluate(PolicyRequest(read_actor(actor), action, resource, meta or NO_META))
