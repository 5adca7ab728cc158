"""security: the rights of the actor, and policies as objects. See security.lua for the functions of scripts.

=======================  ==================================  ======================================================
operation                arguments                           returns
=======================  ==================================  ======================================================
``security.actor``       -                                   id and meta; nil without an actor
``security.scope``       -                                   ids of policies; nil without a scope
``security.can``         action, resource, meta?             boolean; false without actor or scope
``security.require``     action, resource, message           True; Invalid with that message when it is denied
``security.policy``      id                                  its full id; Invalid (denied), Internal (unknown)
``security.group``       id                                  ids of its policies; Invalid (denied), Internal (unknown)
``security.evaluate``    policy ids, actor, action,          allow, deny or undefined
                         resource, meta?
=======================  ==================================  ======================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from tasuki.contracts.context import Permissions
from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError, PolicyDeniedError


def permission_denied(operation: Callable[..., Any]) -> Callable[..., Any]:
    """The operation of a module that reports a denial by a policy as kind PermissionDenied, not as Invalid."""

    @wraps(operation)
    def checked(*args: Any) -> Any:
        try:
            return operation(*args)
        except PolicyDeniedError as error:
            details = dict(error.details)
            raise HandlerError(str(error), kind="PermissionDenied", retryable=False, details=details) from error

    return checked


NAME = "security"


def _permissions(context: Context) -> Permissions:
    if context.project.permissions is None:
        raise HandlerError("security is not available in this context", kind="Internal", retryable=False)
    return context.project.permissions


def _full_id(context: Context, id: str) -> str:
    return id if ":" in id else f"{context.delivery.function.partition(':')[0]}:{id}"


def _meta(meta: Any) -> Mapping[str, Any] | None:
    return meta if isinstance(meta, dict) else None


def actor(context: Context) -> Mapping[str, Any] | None:
    """Who acts."""
    return None if context.project.permissions is None else context.project.permissions.actor()


def scope(context: Context) -> list[str] | None:
    """The policies in force."""
    found = None if context.project.permissions is None else context.project.permissions.scope()
    return None if found is None else list(found)


def can(context: Context, action: str, resource: str, meta: Any = None) -> bool:
    """Whether the scope allows it."""
    return context.project.permissions is not None and context.project.permissions.can(action, resource, _meta(meta))


def require(context: Context, action: str, resource: str, problem: str) -> bool:
    """Return if it is allowed."""
    if context.project.permissions is not None:
        context.project.permissions.require(action, resource, problem)
    return True


def policy(context: Context, id: str) -> str:
    """The full id of a policy that there is."""
    require(context, "security.policy.get", id, "permission denied: access policy")
    full = _full_id(context, id)
    if not _permissions(context).has_policy(full):
        raise HandlerError(f"policy not found: {id}", kind="Internal", retryable=False)
    return full


def group(context: Context, id: str) -> list[str]:
    """The policies of a group."""
    require(context, "security.policy_group.get", id, "permission denied: access policy group")
    found = _permissions(context).group(_full_id(context, id))
    if found is None:
        raise HandlerError(f"policy group not found: {id}", kind="Internal", retryable=False)
    return list(found)


def evaluate(
    context: Context, policies: Any, who: Mapping[str, Any], action: str, resource: str, meta: Any = None
) -> str:
    """What policies say together about an actor."""
    known = {"id": who["id"], "meta": _meta(who.get("meta")) or {}}
    return _permissions(context).evaluate(list(policies), known, action, resource, _meta(meta))


OPERATIONS = {
    "security.actor": actor,
    "security.scope": scope,
    "security.can": can,
    "security.require": require,
    "security.policy": policy,
    "security.group": group,
    "security.evaluate": evaluate,
}
