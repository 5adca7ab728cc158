"""Actor: the identity that acts; and the request that policies judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tasuki.errors import HandlerError

NO_META: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, service or program with an id; ``meta`` is plain data that conditions can read."""

    id: str
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)


def read_actor(value: Any) -> Actor:
    """The actor of plain data, ``{"id": text, "meta": mapping?}``, as code and scripts give it.

    Raises:
        HandlerError: kind Invalid: it is something else.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("id"), str):
        raise HandlerError("an actor is a mapping with an id, a text", kind="Invalid", retryable=False)
    meta = value.get("meta") or {}
    if not isinstance(meta, Mapping) or not all(isinstance(key, str) for key in meta):
        raise HandlerError("the meta of an actor is a mapping with texts as keys", kind="Invalid", retryable=False)
    return Actor(value["id"], meta)


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """A request of an actor: an action on a resource, described by ``meta``."""

    actor: Actor
    action: str
    resource: str
    meta: Mapping[str, Any] = field(default_factory=lambda: NO_META, hash=False)
