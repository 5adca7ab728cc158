"""The capabilities of the driver in memory."""

from __future__ import annotations

from tasuki.contracts.driver import ACTS, SPANS, Ability, Capabilities

_ABILITIES: frozenset[Ability] = frozenset({
    "ordered", "ordering_key", "native_priority", "exact_depth", "keeps_errors", "max_length", "dedup", "limits",
})  # fmt: skip

CAPABILITIES = Capabilities(
    "memory",
    _ABILITIES,
    unique=frozenset({*SPANS, *ACTS}),
)
