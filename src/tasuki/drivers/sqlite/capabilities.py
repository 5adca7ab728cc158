"""The capabilities of the driver for SQLite."""

from __future__ import annotations

from tasuki.contracts.driver import ACTS, SPANS, Ability, Capabilities

_ABILITIES: frozenset[Ability] = frozenset({
    "ordered", "ordering_key", "native_priority", "leases", "sees_deaths", "exact_depth", "keeps_errors",
    "max_length", "dedup", "limits",
})  # fmt: skip

CAPABILITIES = Capabilities(
    "power",
    _ABILITIES,
    unique=frozenset({*SPANS, *ACTS}),
    max_message_bytes=256 * 2**20,
)
