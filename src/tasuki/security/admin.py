"""Rights at the desk: what the policies of the project allow an actor there.

Pages, API, MCP, ``top`` and ``policy explain`` use it.
"""

from __future__ import annotations

from collections.abc import Iterable

from tasuki.security.actor import Actor, Request
from tasuki.security.guard import Decision, Guard, denied
from tasuki.security.policy import Finding, Policy, Scope

NAMESPACE = "queue.admin"
ADMIN = f"{NAMESPACE}."
"""What the actions of the desk begin with."""
OFF = frozenset({"dry_run", "secrets"})
"""Rights that no actor has until a policy that names ``queue.admin`` allows them: one runs code, one shows secrets."""
RIGHTS = OFF | {
    "acknowledge", "audit", "batch", "borrow", "cancel", "delete", "edit", "move", "pause", "peek", "publish", "purge",
    "redrive", "remove", "reschedule", "resume", "run", "scale",
}  # fmt: skip
"""All rights of the desk, without ``ADMIN``."""
_MOST_KEPT = 1000
"""Actors whose rights are remembered."""
_OF_CODE = "it asks nothing about the actor, so it counts for code that it is attached to, and not at the desk"
_NOT_NAMED = f"this right is off until a policy allows it that names {NAMESPACE}"
_FREE = Decision(True, "", "no policy is about the desk")


class AdminRights:
    """The rights of actors at the desk.

    A deny counts wherever it matches. An allow counts if it asks who acts: another one is meant for the code that it is
    attached to. For the rights in ``OFF`` it must name ``queue.admin``: ``queue.*`` is rarely written for them. Once an
    allow counts, or a policy names ``queue.admin``, nothing else is allowed. Before that the desk has the rights of the
    application: all of them, unless ``security.config`` says otherwise.

    Args:
        policies: all of the project.
        application: the guard of the application's own code; None: it may do everything.
    """

    def __init__(self, policies: Iterable[Policy], application: Guard | None) -> None:
        every = list(policies)
        heard = [each for each in every if each.effect == "deny" or each.asks_who]
        self.ignored = [each.id for each in every if _is_named(each) and each not in heard]
        """Ids of policies that name the desk's rights and allow nothing there, as they do not ask who acts."""
        allowing = [each for each in heard if each.effect == "allow" and _matches(each)]
        is_named = any(map(_is_named, every))
        self.are_declared = is_named or bool(allowing)
        """Whether policies say who may do what at the desk, so that nothing else is allowed."""
        self.shut_by = [] if is_named or not all(map(_needs_meta, allowing)) else [each.id for each in allowing]
        """Ids of policies that close the desk and allow nothing there, as an actor there has no ``meta``."""
        self._scope = Scope(heard)
        self._not_named = [each.id for each in allowing if not _is_named(each)]
        self._scope_of_off = Scope(each for each in heard if each.effect == "deny" or _is_named(each))
        self._of_code = [each.id for each in every if each not in heard and _matches(each)]
        self._application = application
        self._guards: dict[tuple[str, bool], Guard] = {}
        self._of_any: dict[tuple[str, str], bool] = {}

    def decide(self, actor: str, act: str, id: str) -> Decision:
        """Whether an actor may do this to a queue, consumer or schedule, and why; nothing is logged."""
        decision = self._guard(actor, act).decide(ADMIN + act, id)
        if self.are_declared or decision.is_denied:
            return decision
        if act in OFF:
            return Decision(False, "", f"this is off until a policy allows {ADMIN}{act}")
        return _FREE if self._application is None else self._application.decide(ADMIN + act, id)

    def findings(self, actor: str, act: str, id: str) -> list[Finding]:
        """What each policy says to that, also those that do not count here."""
        found = self._scope_of(act).judge(Request(Actor(actor), ADMIN + act, id))
        wide = self._not_named if act in OFF else []
        silent = [*((id, _NOT_NAMED) for id in wide), *((id, _OF_CODE) for id in self._of_code)]
        return [*found, *(Finding(id, "undefined", why) for id, why in silent)]

    def may(self, actor: str, act: str, id: str) -> bool:
        """Whether an actor may do this to a queue, consumer or schedule; nothing is logged."""
        return self.decide(actor, act, id).allowed

    def require(self, actor: str, act: str, id: str) -> None:
        """Return if it may. Raises PolicyDeniedError, and logs that."""
        decision, action = self.decide(actor, act, id), ADMIN + act
        if decision.allowed:
            return
        why = f"policy {decision.policy} denies {action}" if decision.is_denied else f"no policy allows {action}"
        if act in OFF and not self.are_declared and not decision.is_denied:
            why = decision.why
        raise denied(actor, action, id, f"{actor} may not {act} {id}: {why}", decision)

    def may_any(self, actor: str, act: str, ids: Iterable[str]) -> bool:
        """Whether an actor may do this to one of all entries that there are; judged once, as each page asks."""
        key = (actor, act)
        if key not in self._of_any:
            if len(self._of_any) > _MOST_KEPT:
                self._of_any.clear()
            self._of_any[key] = any(self.may(actor, act, id) for id in ids)
        return self._of_any[key]

    def _scope_of(self, act: str) -> Scope:
        return self._scope_of_off if act in OFF else self._scope

    def _guard(self, actor: str, act: str) -> Guard:
        key = (actor, act in OFF)
        guard = self._guards.get(key)
        if guard is None:
            if len(self._guards) > _MOST_KEPT:
                self._guards.clear()
            guard = self._guards[key] = Guard(Actor(actor), self._scope_of(act), strict=True)
        return guard


def _matches(policy: Policy) -> bool:
    return any(pattern.matches(ADMIN + right) for pattern in policy.actions for right in RIGHTS)


def _needs_meta(policy: Policy) -> bool:
    """Whether a condition compares ``actor.meta``, which an actor at the desk does not have."""
    compared = [each for each in policy.conditions if each.operator not in ("exists", "nexists")]
    return any(path[:2] == ("actor", "meta") for each in compared for path in (each.field, each.value_from or ()))


def _is_named(policy: Policy) -> bool:
    """Whether a policy is written for the desk. Also a misspelt right counts: it opens nothing."""
    return any(pattern.core.startswith(NAMESPACE) for pattern in policy.actions)
