"""Guard: decides whether an identity may do something; it logs and raises each denial."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasuki.errors import PolicyDeniedError
from tasuki.security.actor import NO_META, Actor, Request
from tasuki.security.policy import Scope, ruling_of


@dataclass(frozen=True, slots=True)
class Decision:
    """Yes or no, which policy decided (empty: none did), and why."""

    allowed: bool
    policy: str
    why: str
    is_denied: bool = False
    """Whether a policy said deny, not merely none said allow."""


NOBODY_ALLOWED = Decision(True, "", "there is no actor, and security is not strict")

NOBODY_DENIED = Decision(False, "", "there is no actor, and security is strict")


def decide(
    actor: Actor | None,
    scope: Scope | None,
    action: str,
    resource: str,
    meta: Mapping[str, Any] | None = None,
    *,
    strict: bool = False,
) -> Decision:
    """With an actor and a scope, the scope must say allow; without, everything is allowed unless security is strict."""
    if actor is None or scope is None:
        return NOBODY_DENIED if strict else NOBODY_ALLOWED
    finding = ruling_of(scope.judge(Request(actor, action, resource, meta or NO_META)))
    return Decision(finding.ruling == "allow", finding.policy, finding.why, finding.ruling == "deny")


def decide_publish(actor: Actor | None, scope: Scope | None, queue: str, *, strict: bool = False) -> Decision:
    """Whether an actor may publish to a queue: both permissions in one.

    ``queue.publish.queue`` must be allowed on the queue. ``queue.publish`` is the general permission: it is asked of
    the resource ``""`` and of the queue, and a deny on either denies. It need not be allowed as well: an actor that
    may publish to this queue may publish, so that one policy on ``app.queue:*`` is enough.
    """
    for resource in ("", queue):
        general = decide(actor, scope, "queue.publish", resource, strict=strict)
        if general.is_denied:
            return general
    return decide(actor, scope, "queue.publish.queue", queue, strict=strict)


_log = logging.getLogger("tasuki.security")


_MAX_REMEMBERED = 1000

_MAX_RESOURCE = 300
"""Longest name whose decision is cached; longer ones are decided each time."""


class Guard:
    """An actor with its scope, or no actor. Immutable except for its cache of decisions."""

    def __init__(self, actor: Actor | None = None, scope: Scope | None = None, *, strict: bool = False) -> None:
        self.actor = actor
        self.scope = scope
        self.strict = strict
        self._remembered: dict[tuple[str, str], Decision] = {}

    def __repr__(self) -> str:
        return f"<guard of {self.actor.id if self.actor else 'no actor'}>"

    def decide(self, action: str, resource: str, meta: Mapping[str, Any] | None = None) -> Decision:
        """Whether it may; nothing is logged. ``meta`` says more about the resource."""
        if meta:
            return decide(self.actor, self.scope, action, resource, meta, strict=self.strict)
        key = (action, resource)
        decision = self._remembered.get(key)
        if decision is None:
            decision = self._decide(action, resource)
            if len(resource) > _MAX_RESOURCE:
                return decision
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = decision
        return decision

    def _decide(self, action: str, resource: str) -> Decision:
        if action == "queue.publish.queue":
            return decide_publish(self.actor, self.scope, resource, strict=self.strict)
        return decide(self.actor, self.scope, action, resource, strict=self.strict)

    def require(self, action: str, resource: str, problem: str, meta: Mapping[str, Any] | None = None) -> None:
        """Return if it may.

        Raises:
            PolicyDeniedError: it may not; ``problem`` is its message.
        """
        decision = self.decide(action, resource, meta)
        if not decision.allowed:
            raise denied(self._actor_id, action, resource, problem, decision)

    def publish(self, queue: str) -> None:
        """Both permissions of a publish: see :func:`tasuki.security.guard.decide_publish`. Raises PolicyDeniedError."""
        decision = self.decide("queue.publish.queue", queue)
        if decision.allowed:
            return
        general = decide(self.actor, self.scope, "queue.publish", "", strict=self.strict)
        if general.is_denied or not queue:
            raise denied(self._actor_id, "queue.publish", "", "queue publishing not allowed", general)
        raise denied(
            self._actor_id, "queue.publish.queue", queue, f"not allowed to publish to queue: {queue}", decision
        )

    def consume(self, queue: str) -> None:
        """Raises PolicyDeniedError, which names the policy, for the operator."""
        decision = self.decide("queue.consume.queue", queue)
        if not decision.allowed:
            by = f"policy {decision.policy!r} denies it" if decision.policy else decision.why
            who = f"actor {self.actor.id!r}" if self.actor else "nobody"
            problem = f"not allowed to consume from queue: {queue} ({who}: {by})"
            raise denied(self._actor_id, "queue.consume.queue", queue, problem, decision)

    @property
    def _actor_id(self) -> str:
        return self.actor.id if self.actor else ""


def denied(actor: str, action: str, resource: str, problem: str, decision: Decision) -> PolicyDeniedError:
    """The error for a denial, which is in the log now; ``actor`` is its id, or empty."""
    facts = {"actor": actor, "action": action, "resource": resource, "policy": decision.policy}
    reason = "a policy denies it" if decision.is_denied else decision.why
    _log.warning("denied: %s", reason, extra={name: value or None for name, value in facts.items()})
    return PolicyDeniedError(problem, **facts)
