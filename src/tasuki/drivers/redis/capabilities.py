"""The capabilities of the driver for Redis and Valkey."""

from __future__ import annotations

from tasuki.contracts.driver import ACTS, SPANS, Capabilities

_EMULATED = frozenset({
    "ordering_key", "native_delay", "native_priority", "leases", "sees_deaths", "max_length", "dedup", "unique",
    "limits", "lanes",
})  # fmt: skip

CAPABILITIES = Capabilities(
    durability="power",
    multi_process=True,
    ordered=True,
    ordering_key=True,
    native_delay=True,
    native_priority=True,
    counts_attempts=True,
    leases=True,
    sees_deaths=True,
    sees_silence=True,
    exact_depth=True,
    peek=True,
    find=True,
    purge=True,
    remove=True,
    expedite=True,
    transfer=True,
    keeps_errors=True,
    max_length=True,
    dedup=True,
    delete=True,
    atomic_move=True,
    store=True,
    emulates=_EMULATED,
    unique=frozenset({*SPANS, *ACTS}),
    limits=frozenset({"rate", "concurrency"}),
    lanes=True,
    max_message_bytes=256 * 2**20,
)
