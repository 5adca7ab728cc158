"""Locks: a change of the schema gets its tables without holding up all others behind a long transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from tasuki.backoff import Backoff, is_told
from tasuki.drivers.postgres.problems import sql_state
from tasuki.errors import BrokerUnavailableError

_log = logging.getLogger("tasuki.driver.postgres")

LOCKED = "55P03"
"""SQLSTATE after ``lock_timeout``."""
ATTEMPTS = 16
"""Waits for the tables before the change is given up."""
PAUSES = Backoff(initial_delay=0.5, max_delay=3.0, backoff_factor=1.5)
"""Seconds in which all others get the tables."""

# Every later statement waits behind one that waits for a table: so that wait is short. It is longer than
# deadlock_timeout, for the server ends an autovacuum of the table only for a statement that has waited for so long.
_BEGIN = (
    "SAVEPOINT change; SELECT set_config('lock_timeout', (least(setting::integer, 1000) + 500)::text, true) "
    "FROM pg_settings WHERE name = 'deadlock_timeout'"
)
_UNDO = "ROLLBACK TO SAVEPOINT change"  # keeps the lock that keeps other processes from the same change
# Without their statements, which may hold data. A prepared transaction has no process.
_HOLDERS = """
SELECT DISTINCT l.virtualtransaction AS transaction, l.pid, a.usename, a.application_name, a.state,
    to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"') AS began
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE n.nspname = $1 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
"""


async def with_short_waits(connection: Any, schema: str, change: Callable[[], Awaitable[None]], driver: str) -> None:
    """Make a change in the open transaction; again while another transaction holds a table that it needs.

    Raises what ``change`` raises, and BrokerUnavailableError if the tables did not come free.
    """
    for failures in count(1):
        before = await _holders(connection, schema)
        await connection.execute(_BEGIN)
        try:
            await change()
        except Exception as error:
            if sql_state(error) != LOCKED:
                raise
            await connection.execute(_UNDO)
            after = await _holders(connection, schema)
            blockers = "; ".join(text for id, text in after.items() if id in before) or "another transaction"
            problem = f"schema {schema!r} cannot be completed while its tables are in use by {blockers}"
            if failures == ATTEMPTS:
                remedy = "end that transaction (pg_terminate_backend) or wait for its end"
                raise BrokerUnavailableError(f"{problem}; {remedy}", driver=driver) from error
            if is_told(failures):
                _log.warning("driver %r: %s", driver, problem)
            await asyncio.sleep(PAUSES.delay(failures))
        else:
            return


async def _holders(connection: Any, schema: str) -> dict[str, str]:
    """The transactions of others that have locked a part of the schema, and how to show each."""
    statement = await connection.prepare(_HOLDERS, name=False)
    return {row["transaction"]: _shown(row) for row in await statement.fetch(schema)}


def _shown(holder: Any) -> str:
    if holder["pid"] is None:
        return "a prepared transaction (see pg_prepared_xacts)"
    known = {
        "user": holder["usename"],
        "application": holder["application_name"],
        "state": holder["state"],  # hidden from a role without pg_read_all_stats, as is the next
        "transaction began": holder["began"],
    }
    return f"process {holder['pid']} ({', '.join(f'{name}: {value}' for name, value in known.items() if value)})"
