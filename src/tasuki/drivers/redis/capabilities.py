"""The capabilities of the driver for Redis and Valkey."""

from __future__ import annotations

from tasuki.contracts.driver import ACTS, SPANS, Ability, Capabilities

_EMULATED = frozenset({
    "ordering_key", "native_delay", "native_priority", "leases", "sees_deaths", "max_length", "dedup", "unique",
    "limits",
})  # fmt: skip

_ABILITIES: frozenset[Ability] = frozenset({
    "ordered", "ordering_key", "native_priority", "leases", "sees_deaths", "sees_silence", "exact_depth",
    "keeps_errors", "max_length", "dedup", "limits",
})  # fmt: skip

CAPABILITIES = Capabilities(
    "power",
    _ABILITIES,
    emulates=_EMULATED,
    unique=frozenset({*SPANS, *ACTS}),
    max_message_bytes=256 * 2**20,
)
