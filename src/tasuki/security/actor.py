"""Actor: who acts; and the request that policies judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

NO_META: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody or something with an id; ``meta`` is plain data that conditions can look at."""

    id: str
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Request:
    """What an actor wants: an action on a resource; ``meta`` says more about the resource."""

    actor: Actor
    action: str
    resource: str
    meta: Mapping[str, Any] = field(default_factory=lambda: NO_META, hash=False)
