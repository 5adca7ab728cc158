"""The capabilities of the driver for SQLite."""

from __future__ import annotations

from tasuki.contracts.driver import ACTS, SPANS, Capabilities

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
    transactional=True,
    transactional_settle=True,
    store=True,
    unique=frozenset({*SPANS, *ACTS}),
    limits=frozenset({"rate", "concurrency"}),
    lanes=True,
    max_message_bytes=256 * 2**20,
)
