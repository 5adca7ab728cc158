"""The gate: decides whether a request may pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasuki.security.actor import NO_META, Actor, Request
from tasuki.security.scope import Scope, ruling_of


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
