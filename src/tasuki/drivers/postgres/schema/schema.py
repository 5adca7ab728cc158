"""The schema: made once for all processes, with short waits for its tables, and made again when parts are dropped."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from importlib.resources import files
from itertools import count
from typing import Any

from tasuki.backoff import Backoff, is_told
from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.postgres.connections import MISSING, NO_QUEUE, NO_RIGHT, sql_state
from tasuki.drivers.toolkit.guard import KnownQueues
from tasuki.drivers.toolkit.stores import require
from tasuki.errors import AccessDeniedError, BrokerUnavailableError, UnsupportedError
from tasuki.system.tasks import OnFailure

_log = logging.getLogger("tasuki.driver.postgres")
LOCKED = "55P03"
"""SQLSTATE after ``lock_timeout``."""
ATTEMPTS = 16
"""Waits for the tables before the change is given up."""
PAUSES = Backoff(initial_delay=0.5, max_delay=3.0, backoff_factor=1.5)
"""Seconds in which all others get the tables."""


# Every later statement waits behind one that waits for a table: so that wait is short. It is longer than
# deadlock_timeout, for the server ends an autovacuum of the table only for a statement that has waited for so long.
_BEGIN_CHANGE = (
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
        await connection.execute(_BEGIN_CHANGE)
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


LAYOUT = 1
"""Of the schema as the SQL of this folder makes it (docs/adr/0065)."""
PARTS = (
    *("tables", "queues", "ordering", "waking", "causes", "publishing", "uniques", "lanes", "turns", "limits", "one"),
    *("receiving", "settling", "inspecting", "removing", "presence", "stores", "plans"),
)
"""Files of SQL, in the order in which they run. Each can run again, and keeps existing rows."""
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('tasuki migrations ' || '{0}', 0))"
_BEGIN = (
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; "
    "SET LOCAL idle_in_transaction_session_timeout = 0"
)


# Rows of the catalogue, not to_regclass(): that answers out of a cache, which may be older than the wait for the lock.
_HAS_SCHEMA = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"
_MISSING = (
    "SELECT ARRAY(SELECT unnest($2::text[]) EXCEPT SELECT c.relname FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1) || "
    "ARRAY(SELECT unnest($3::text[]) EXCEPT SELECT p.proname FROM pg_proc p "
    "JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1)"
)
_LAYOUT = "SELECT max(version) FROM {0}.migrations"
_MADE = re.compile(r"^create (?:or replace )?(?:unlogged )?(table|function) (?:if not exists )?(\w+)", re.M)


# Places that were shown of a table that was dropped must never fit a row of the one that takes its place.
_NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_RENUMBER = "ALTER TABLE {} ALTER COLUMN {} RESTART WITH {}"
_NOTE = (
    "CREATE TABLE IF NOT EXISTS migrations (version integer PRIMARY KEY, "
    "done_at timestamptz NOT NULL DEFAULT clock_timestamp()); "
    "INSERT INTO migrations (version) VALUES ({}) ON CONFLICT DO NOTHING;"
)
_QUEUES_EVER = (
    "SELECT coalesce(max(queue), 0) + 1 FROM (SELECT max(queue) AS queue FROM messages "
    "UNION ALL SELECT max(queue) FROM seen UNION ALL SELECT max(queue) FROM deleted "
    "UNION ALL SELECT max(queue) FROM uniques UNION ALL SELECT max(queue) FROM changes "
    "UNION ALL SELECT max(queue) FROM waiters UNION ALL SELECT max(queue) FROM gates "
    "UNION ALL SELECT max(queue) FROM lanes UNION ALL SELECT max(queue) FROM arrivals) every"
)
OLDEST_SERVER = 120000
"""plan_cache_mode."""


def _sql() -> str:
    folder = files(__package__) / "sql"
    return "\n".join((folder / f"{part}.sql").read_text("utf-8") for part in PARTS)


def parts() -> tuple[list[str], list[str]]:
    """The names of the tables, including the one of the layout, and of the functions."""
    made = _MADE.findall(_sql())
    tables, functions = ({name for kind, name in made if kind == wanted} for wanted in ("table", "function"))
    return sorted({*tables, "migrations"}), sorted(functions)


async def check(connection: Any, schema: str, driver: str = "") -> bool:
    """Whether the schema is whole; changes nothing.

    Raises what the client raises, DriverError for a schema of another layout, and UnsupportedError for an old server.
    """
    await connection.execute("BEGIN")
    missing = await _missing(connection, schema, driver)
    number = int(await _one(connection, "SELECT current_setting('server_version_num')"))
    await connection.execute("COMMIT")
    if number < OLDEST_SERVER:
        raise UnsupportedError(f"PostgreSQL 12 or newer is needed; this is {number // 10000}")
    return not missing


async def complete(connection: Any, schema: str, driver: str = "") -> None:
    """Make the missing parts of the schema, which may be all.

    Raises what the client raises, DriverError for a schema of another layout, AccessDeniedError if the role may not
    change it, and BrokerUnavailableError if its tables do not come free.
    """
    await connection.execute(_BEGIN)
    await connection.execute(_LOCK.format(schema))
    missing = await _missing(connection, schema, driver)  # another process may have made them meanwhile
    if missing:
        try:
            await with_short_waits(connection, schema, partial(_make, connection, schema, missing), driver)
        except Exception as error:
            if sql_state(error) != NO_RIGHT:
                raise
            lack = f"lacks {', '.join(sorted(missing))}"
            problem = f"schema {schema!r} {lack}, and this role may not change it: start a process whose role owns it"
            raise AccessDeniedError(problem, driver=driver) from error
    await connection.execute("COMMIT")


async def _make(connection: Any, schema: str, missing: Sequence[str]) -> None:
    create = "" if await _one(connection, _HAS_SCHEMA, schema) else f"CREATE SCHEMA {schema};"
    await connection.execute(f"{create} SET LOCAL search_path = {schema}, pg_temp; {_NOTE.format(LAYOUT)}\n{_sql()}")
    if "messages" in missing:
        await connection.execute(_RENUMBER.format("messages", "seq", await _one(connection, _NOW)))
    if "queues" in missing:
        await connection.execute(_RENUMBER.format("queues", "id", await _one(connection, _QUEUES_EVER)))


async def _missing(connection: Any, schema: str, driver: str) -> list[str]:
    """The names of missing parts. Raises DriverError for a schema of another layout."""
    missing: list[str] = await _one(connection, _MISSING, schema, *parts())
    if "migrations" not in missing:
        found = await _one(connection, _LAYOUT.format(schema))
        require(found, LAYOUT, place=f"schema {schema!r}", instead="schema", driver=driver)
    return missing


async def _one(connection: Any, sql: str, *arguments: Any) -> Any:
    """One value, asked for in a transaction by a statement without a name: so it goes through any pooler."""
    statement = await connection.prepare(sql, name=False)
    return await statement.fetchval(*arguments)


PAUSE = 0.5
"""Seconds after a failure in which nothing is tried again: a role that may not make tables gets them from another."""


class Healing:
    """For one session. ``complete`` makes missing parts of the schema, ``declare`` makes one queue.

    Only the queues that this process has declared are made again, and no temporary ones: those end with their process.
    """

    def __init__(
        self,
        known: KnownQueues[QueueSpec],
        complete: Callable[[], Awaitable[None]],
        declare: Callable[[QueueSpec], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._known = known
        self._complete = complete
        self._declare = declare
        self._spawn = spawn
        self._task: asyncio.Task[None] | None = None
        self._failed_at = float("-inf")

    async def mends(self, problem: Exception, queue: str) -> bool:
        """Mend the cause of a failed statement; whether another try is worth it. Raises what the client raises."""
        state = sql_state(problem)
        if state == NO_QUEUE:
            spec = self._known.find(queue)
            if spec is None or spec.temporary or not self._known.is_declared(queue):
                return False
            await self._declare(spec)
            return True
        loop = asyncio.get_running_loop()
        if state not in MISSING or loop.time() - self._failed_at < PAUSE:
            return False
        if self._task is None or self._task.done():
            self._task = self._spawn(self._make_all())
        try:
            await asyncio.shield(self._task)
        except Exception as error:
            if isinstance(error, AccessDeniedError) or sql_state(error) == NO_RIGHT:
                return False  # it is for a process whose role owns the schema
            raise
        return True

    async def _make_all(self) -> None:
        def failed() -> None:
            self._failed_at = asyncio.get_running_loop().time()

        with OnFailure(failed):
            await self._complete()
            for spec in self._known.declared():
                if not spec.temporary:
                    await self._declare(spec)
