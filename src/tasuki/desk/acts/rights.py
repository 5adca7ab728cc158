"""Rights of the desk: which actor may do what, as the project's policies say."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from tasuki.errors import PolicyDeniedError
from tasuki.kinds.check.project import Project
from tasuki.kinds.check.rights import Rights
from tasuki.kinds.entries.security import ExpressionPolicyConfig, PolicyConfig
from tasuki.security.actor import Actor
from tasuki.security.guard import Guard
from tasuki.security.policy import Policy
from tasuki.security.scope import Scope

_log = logging.getLogger("tasuki.desk")

ADMIN = "queue.admin."
"""What the actions of the desk begin with."""
_MOST_KEPT = 1000
"""Actors whose rights are remembered."""
OFF = frozenset({"dry_run", "secrets"})
"""Acts that no actor may do until a policy allows them: one runs code, the other shows secrets."""


class DeskRights:
    """Once a policy of the project names ``queue.admin.…``, an actor may do what such policies allow, and nothing else.

    Before that the desk has the rights of the application: all of them, unless ``security.config`` says otherwise.
    One that allows without a condition on the actor is meant for code that it is attached to, not for every client of
    the desk: it allows nothing here.
    """

    def __init__(self, project: Project, rights: Rights) -> None:
        self.of = rights
        named = names_admin(project)
        policies = [rights.policies[id] for id in named]
        for each in policies:
            if not _counts(each):
                _log.warning(
                    "desk: policy %s allows nothing at the desk, because it has no condition on the actor; for every "
                    "actor, add {field: actor.id, operator: exists}",
                    each.id,
                    extra={"policy": each.id},
                )
        self._scope = Scope(filter(_counts, policies)) if named else None
        self._application = rights.application
        self._guards: dict[str, Guard] = {}
        self._of_any: dict[tuple[str, str], bool] = {}

    @property
    def are_declared(self) -> bool:
        """Whether a policy of the project names ``queue.admin.…``, so that nothing else is allowed."""
        return self._scope is not None

    def may(self, actor: str, act: str, id: str) -> bool:
        """Whether an actor may do this to a queue, consumer or schedule; nothing is logged."""
        if self._is_off(act):
            return False
        guard = self._guard(actor)
        return guard is None or guard.decide(ADMIN + act, id).allowed

    def require(self, actor: str, act: str, id: str) -> None:
        """Return if it may. Raises PolicyDeniedError, and logs that."""
        if self._is_off(act):
            problem = f"{actor} may not {act} {id}: this is off until a policy allows {ADMIN}{act}"
            raise PolicyDeniedError(problem, actor=actor, action=ADMIN + act, resource=id)
        guard = self._guard(actor)
        if guard is not None:
            guard.require(ADMIN + act, id, f"{actor} may not {act} {id}: no policy allows {ADMIN}{act}")

    def may_any(self, actor: str, act: str, ids: Iterable[str]) -> bool:
        """Whether an actor may do this to one of all entries that there are; judged once, as each page asks."""
        key = (actor, act)
        if key not in self._of_any:
            if len(self._of_any) > _MOST_KEPT:
                self._of_any.clear()
            self._of_any[key] = any(self.may(actor, act, id) for id in ids)
        return self._of_any[key]

    def _is_off(self, act: str) -> bool:
        return act in OFF and self._scope is None

    def _guard(self, actor: str) -> Guard | None:
        if self._scope is None:
            return self._application
        guard = self._guards.get(actor)
        if guard is None:
            if len(self._guards) > _MOST_KEPT:
                self._guards.clear()
            guard = self._guards[actor] = Guard(Actor(actor), self._scope, strict=True)
        return guard


def names_admin(project: Project) -> list[str]:
    """Ids of the policies that name ``queue.admin.…``."""
    configs = {id: each for kind in (PolicyConfig, ExpressionPolicyConfig) for id, each in project.of(kind).items()}
    return [id for id, each in configs.items() if any(map(_is_admin, each.policy.actions))]


def _counts(policy: Policy) -> bool:
    return policy.effect == "deny" or policy.asks_who


def _is_admin(pattern: str) -> bool:
    return pattern.startswith("queue.admin")
