"""What the errors of the server and of its client mean: SQLSTATE → DriverError."""

from __future__ import annotations

import asyncio

from tasuki.errors import (
    AccessDeniedError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    Outcome,
    QueueFullError,
    QueueNotFoundError,
)

NO_QUEUE = "TQ404"
"""Raised by our own functions."""

_MEANINGS: tuple[tuple[str, type[DriverError], str], ...] = (
    (NO_QUEUE, QueueNotFoundError, "the queue was removed from the database; restart to declare it again"),
    ("42501", AccessDeniedError, "this role may not do that; grant it the rights of docs/how-to/postgres.md"),
    ("28", AccessDeniedError, "the server refuses the credentials"),
    ("3D000", AccessDeniedError, "there is no such database"),
    ("42P01", DriverError, "a table is missing; restart to make the schema anew, or restore it"),
    ("42883", DriverError, "a function is missing; restart to make the schema anew, or restore it"),
    ("3F000", DriverError, "the schema is missing; restart to make it anew, or restore it"),
    ("53100", QueueFullError, "the disk of the server is full"),
    ("54", MessageTooLargeError, "it is more than the server takes"),
    ("25006", BrokerUnavailableError, "the server takes no writes: it is a standby, or was made one"),
    ("40", BrokerUnavailableError, "it met another transaction; try again"),
    ("55P03", BrokerUnavailableError, "somebody holds a lock on the tables; try again"),
    ("57014", BrokerUnavailableError, "the server gave up on it after the timeout; try again"),
    ("57", BrokerUnavailableError, "the server is stopping or starting"),
    ("53", BrokerUnavailableError, "the server has no room for more; see max_connections and pool_size"),
    ("08", BrokerUnavailableError, "the connection was lost"),
    ("58", BrokerUnavailableError, "the server cannot reach its files"),
)
_CERTAIN = ("40", "55P03", "57014", "25006", "53", "42", "22", "54", NO_QUEUE)
"""Errors that undo the transaction for certain; others may come after its commit."""
_AWAY = (OSError, asyncio.TimeoutError, EOFError)


def meaning(state: str) -> tuple[type[DriverError], str]:
    """The class and the remedy for an SQLSTATE; the longest known prefix counts first."""
    for prefix, kind, text in _MEANINGS:
        if state.startswith(prefix):
            return kind, text
    return DriverError, "the server refuses it"


def translated(problem: BaseException, where: str, driver: str, queue: str, *, sent: bool) -> DriverError:
    """The DriverError for an error of asyncpg, psycopg, SQLAlchemy or the network.

    Args:
        problem: what was raised; its text is shown without the details, which may hold data.
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
        outcome: Outcome = "unknown" if sent and not state.startswith(_CERTAIN) else "rejected"
        return kind(f"PostgreSQL {where}: {text} ({said})", driver=driver, queue=queue, outcome=outcome)
    outcome = "unknown" if sent else "rejected"
    if isinstance(problem, TimeoutError):
        text = f"PostgreSQL {where} did not answer in time"
        kind = BrokerTimeoutError if sent else BrokerUnavailableError
        return kind(text, driver=driver, queue=queue, outcome=outcome)
    if isinstance(problem, _AWAY) or type(problem).__name__ in {"InterfaceError", "ConnectionDoesNotExistError"}:
        text = f"PostgreSQL {where} cannot be reached: {problem}"
        return BrokerUnavailableError(text, driver=driver, queue=queue, outcome=outcome)
    return DriverError(f"PostgreSQL {where}: {problem}", driver=driver, queue=queue, outcome=outcome)


def sql_state(problem: BaseException) -> str:
    """The SQLSTATE of an error of any of the clients, or nothing."""
    original = getattr(problem, "orig", None) or problem
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    return state if isinstance(state, str) else ""
