"""Rights: the policies of a project, and the guard of each of its actors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from tasuki.contracts.context import Plain
from tasuki.errors import HandlerError
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.security import AnyPolicyConfig, IdentityConfig, SecurityConfig

# A project without policies needs none of these.
if TYPE_CHECKING:
    from tasuki.security.admin import AdminRights
    from tasuki.security.guard import Guard
    from tasuki.security.policy import Policy, Scope


class Rights:
    """The security of a project; a project without any has no guards, and no request is checked."""

    def __init__(self, project: Project) -> None:
        configs = {id: config for id, config in project.configs.items() if isinstance(config, AnyPolicyConfig)}
        self.policies: Mapping[str, Policy] = {id: config.policy.as_policy(id) for id, config in configs.items()}
        members: dict[str, list[Policy]] = {}
        for id, config in configs.items():
            for group in config.groups:
                members.setdefault(group, []).append(self.policies[id])
        self.groups: Mapping[str, Scope] = {group: _scope(policies) for group, policies in members.items()}
        security = next(iter(project.of(SecurityConfig).values()), SecurityConfig())
        self.strict = security.strict
        self.application = self._guard_of(security.application)
        """The guard of the application's own code and of the command line."""
        self._consumers = project.of(ConsumerConfig)

    @cached_property
    def admin(self) -> AdminRights:
        """The rights of actors at the desk."""
        from tasuki.security.admin import AdminRights

        return AdminRights(self.policies.values(), self.application)

    def consumer(self, id: str) -> Guard | None:
        """The guard of a consumer, and of all that it calls."""
        return self._guard_of(self._consumers[id].lifecycle.security)

    def other(self, guard: Guard | None, actor: Plain | None, scope: Sequence[str] | None) -> Guard:
        """The guard of another actor or scope; None keeps the part of ``guard``.

        Raises:
            HandlerError: Invalid: ``actor`` or ``scope`` is of another shape; Internal: a policy of the scope does not
                exist (any more): without it more might be allowed.
        """
        from tasuki.security.actor import read_actor
        from tasuki.security.guard import Guard

        who, what = (guard.actor, guard.scope) if guard else (None, None)
        if actor is not None:
            who = read_actor(actor)
        if scope is not None:
            if (
                isinstance(scope, str)
                or not isinstance(scope, Sequence)
                or not all(isinstance(id, str) for id in scope)
            ):
                raise HandlerError("a scope is a list of ids of policies", kind="Invalid", retryable=False)
            missing = [id for id in scope if id not in self.policies]
            if missing:
                raise HandlerError(f"policy not found: {missing[0]}", kind="Internal", retryable=False)
            what = _scope(self.policies[id] for id in scope)
        return Guard(who, what, strict=self.strict)

    def _guard_of(self, identity: IdentityConfig | None) -> Guard | None:
        if identity is None and not self.strict:
            return None
        from tasuki.security.actor import Actor
        from tasuki.security.guard import Guard

        if identity is None:
            return Guard(strict=True)
        groups = (policy for group in identity.groups for policy in self.groups[group].policies)
        scope = _scope((*groups, *(self.policies[id] for id in identity.policies)))
        return Guard(Actor(identity.actor.id, identity.actor.meta), scope, strict=self.strict)


def _scope(policies: Iterable[Policy]) -> Scope:
    from tasuki.security.policy import Scope

    return Scope(policies)
