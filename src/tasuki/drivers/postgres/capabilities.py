"""The capabilities of the driver for PostgreSQL."""

from __future__ import annotations

from tasuki.contracts.driver import Ability, Capabilities
from tasuki.drivers.postgres.columns import MAX_BODY
from tasuki.drivers.postgres.publishing.publishing import UNIQUE

_ABILITIES: frozenset[Ability] = frozenset({
    "ordered", "ordering_key", "native_priority", "leases", "sees_deaths", "sees_silence", "exact_depth",
    "keeps_errors", "max_length", "dedup", "limits",
})  # fmt: skip

CAPABILITIES = Capabilities(
    "node",
    _ABILITIES,
    unique=UNIQUE,
    max_batch=1000,
    max_message_bytes=MAX_BODY,
)
