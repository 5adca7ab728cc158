"""The capabilities of the driver in memory."""

from __future__ import annotations

from tasuki.contracts.driver import ACTS, SPANS, Capabilities

CAPABILITIES = Capabilities(
    durability="memory",
    ordered=True,
    ordering_key=True,
    native_delay=True,
    native_priority=True,
    counts_attempts=True,
    exact_depth=True,
    peek=True,
    find=True,
    locate=True,
    causes=True,
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
    unique=frozenset({*SPANS, *ACTS}),
    limits=frozenset({"rate", "concurrency"}),
    lanes=True,
)
