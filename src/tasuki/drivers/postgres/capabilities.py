"""The capabilities of the driver for PostgreSQL."""

from __future__ import annotations

from tasuki.contracts.driver import Capabilities
from tasuki.drivers.postgres.columns import MAX_BODY
from tasuki.drivers.postgres.limits import LIMITS
from tasuki.drivers.postgres.publishing.publishing import UNIQUE

CAPABILITIES = Capabilities(
    durability="node",
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
    unique=UNIQUE,
    limits=LIMITS,
    lanes=True,
    max_batch=1000,
    max_message_bytes=MAX_BODY,
)
