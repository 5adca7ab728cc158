"""What the errors of the server and of its client mean: SQLSTATE → DriverError."""

from __future__ import annotations

import asyncio

from tasuki.drivers.postgres.connecting.connections import UnreplicatedError
from tasuki.errors import (
    AccessDeniedError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    Outcome,
    QueueNotFoundError,
    StorageFullError,
)

NO_QUEUE = "TQ404"
"""Raised by our own functions."""
STALE = "TQ410"
"""The same: a delivery of ``settle_within`` has ended already."""
LOCKED = "55P03"
NO_RIGHT = "42501"
NO_TABLE, NO_TYPE, NO_FUNCTION, NO_SCHEMA, NO_COLUMN = "42P01", "42704", "42883", "3F000", "42703"
MISSING = frozenset({NO_TABLE, NO_TYPE, NO_FUNCTION, NO_SCHEMA, NO_COLUMN})
"""A part of the schema is missing; see ``healing.py``."""

_MEANINGS: tuple[tuple[str, type[DriverError], str], ...] = (
    (NO_QUEUE, QueueNotFoundError, "the queue is not in the database; declare it"),
    (NO_RIGHT, AccessDeniedError, "this role may not do that; grant it the rights of docs/how-to/postgres.md"),
    ("28", AccessDeniedError, "the server refuses the credentials"),
    ("3D000", AccessDeniedError, "there is no such database"),
    (NO_TABLE, BrokerUnavailableError, "a table is missing; start a process whose role owns the schema, or restore it"),
    (NO_TYPE, BrokerUnavailableError, "a table is missing; start a process whose role owns the schema, or restore it"),
    (NO_FUNCTION, BrokerUnavailableError, "a function is missing; start a process whose role owns the schema"),
    (NO_COLUMN, BrokerUnavailableError, "a column is missing; start a process whose role owns the schema"),
    (NO_SCHEMA, BrokerUnavailableError, "the schema is missing; start a process whose role may make it, or restore it"),
    ("53100", StorageFullError, "the disk of the server is full"),
    ("54", MessageTooLargeError, "it is more than the server takes"),
    ("25006", BrokerUnavailableError, "the server takes no writes: it is a standby, or was made one"),
    ("40", BrokerUnavailableError, "it met another transaction; try again"),
    (LOCKED, BrokerUnavailableError, "another client holds a lock on the tables; try again"),
    ("57014", BrokerUnavailableError, "the server gave up on it after the timeout; try again"),
    ("57", BrokerUnavailableError, "the server is stopping or starting"),
    ("53", BrokerUnavailableError, "the server has no room for more; see max_connections and pool_size"),
    ("08", BrokerUnavailableError, "the connection was lost"),
    ("58", BrokerUnavailableError, "the server cannot reach its files"),
    ("XX000", BrokerUnavailableError, "the server failed, as it does when tables are dropped while they are used"),
)
_UNCERTAIN = ("08", "40003")
"""Errors of a proxy in between: the server may have done the work."""
_ENDS_SESSION = frozenset({"FATAL", "PANIC"})
_AWAY = (OSError, asyncio.TimeoutError, EOFError)
_OF_CLIENTS = ("InterfaceError", "OperationalError", "TimeoutError")
_OURS = (ValueError, TypeError, OverflowError)
"""Arguments that the client cannot send: trying again is of no use."""


def meaning(state: str) -> tuple[type[DriverError], str]:
    """The class and the remedy for an SQLSTATE; the longest known prefix counts first."""
    for prefix, kind, text in _MEANINGS:
        if state.startswith(prefix):
            return kind, text
    return DriverError, "the server refuses it"


def translated(problem: BaseException, where: str, driver: str, queue: str, *, sent: bool) -> DriverError:
    """The DriverError for an error of asyncpg, psycopg, SQLAlchemy or the network.

    Args:
        problem: the exception; its text is shown without the details, which may hold data.
        where: the address as it may be shown.
        driver: the driver's name.
        queue: the queue's name, or nothing.
        sent: whether a statement was under way, so that its outcome may be unknown.
    """
    if isinstance(problem, DriverError):
        return problem
    state = sql_state(problem)
    if state:
        kind, text = meaning(state)
        said = getattr(problem, "message", None) or str(problem).partition("\n")[0]
        outcome: Outcome = "unknown" if sent and not _is_undone(problem, state) else "rejected"
        return kind(f"PostgreSQL {where}: {text} ({said})", driver=driver, queue=queue, outcome=outcome)
    outcome = "unknown" if sent else "rejected"
    if isinstance(problem, TimeoutError):
        text = f"PostgreSQL {where} did not answer in time"
        kind = BrokerTimeoutError if sent else BrokerUnavailableError
        return kind(text, driver=driver, queue=queue, outcome=outcome)
    if isinstance(problem, UnreplicatedError):
        text = f"PostgreSQL {where}: {problem}"
        return BrokerTimeoutError(text, driver=driver, queue=queue, outcome="unknown")
    if isinstance(problem, _AWAY) or _is_of_the_client(problem):
        text = f"PostgreSQL {where} cannot be reached: {problem or type(problem).__name__}"
        return BrokerUnavailableError(text, driver=driver, queue=queue, outcome=outcome)
    return DriverError(f"PostgreSQL {where}: {problem}", driver=driver, queue=queue, outcome=outcome)


def _is_of_the_client(problem: BaseException) -> bool:
    """Whether the client itself complains, of its connection or of the protocol: the connection is replaced then.

    It says ``InternalClientError`` and its like where a session is ended in the middle of an answer, or, as psycopg and
    its pool do, ``OperationalError`` without an SQLSTATE. The pool of SQLAlchemy says ``TimeoutError``.
    """
    kinds = type(problem).__mro__
    is_client = any(kind.__module__.startswith("asyncpg.") or kind.__name__ in _OF_CLIENTS for kind in kinds)
    return is_client and not isinstance(problem, _OURS)


def _is_undone(problem: BaseException, state: str) -> bool:
    """Whether the server has undone the transaction for certain: it goes on after an error that it reports itself."""
    original = getattr(problem, "orig", None) or problem
    severity = getattr(original, "severity_en", None) or getattr(original, "severity", None) or ""
    return severity not in _ENDS_SESSION and not state.startswith(_UNCERTAIN)


def sql_state(problem: BaseException) -> str:
    """The SQLSTATE of an error of any of the clients, or nothing."""
    original = getattr(problem, "orig", None) or problem
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    return state if isinstance(state, str) else ""
