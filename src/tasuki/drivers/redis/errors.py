"""What the server's answers and the loss of a connection mean to a caller."""

from __future__ import annotations

from tasuki.errors import (
    AccessDeniedError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    Outcome,
    QueueNotFoundError,
    StorageFullError,
    UnsupportedError,
)


class ReplyError(Exception):
    """The server refused a command; nothing of it was done. ``code`` is the first word of its answer."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = text.partition(" ")[0]


class LinkLostError(Exception):
    """The connection ended before the answer came; ``is_sent``: the server may have carried out the command."""

    def __init__(self, reason: str, *, is_sent: bool = True, is_timeout: bool = False) -> None:
        super().__init__(reason)
        self.is_sent = is_sent
        self.is_timeout = is_timeout


def closed_error() -> LinkLostError:
    """The error after a close: nothing was sent."""
    return LinkLostError("the driver was closed", is_sent=False)


_MEANINGS: dict[str, tuple[type[DriverError], str]] = {
    "UNDECLARED": (QueueNotFoundError, "the queue was deleted meanwhile"),
    "OOM": (
        StorageFullError,
        "it is at its maxmemory; raise maxmemory or let consumers drain its queues, which goes on",
    ),
    "MISCONF": (BrokerUnavailableError, "it cannot write to its disk and refuses changes; look at its log"),
    "READONLY": (BrokerUnavailableError, "it is a replica now"),
    "NOREPLICAS": (BrokerUnavailableError, "it has fewer replicas than min-replicas-to-write"),
    "LOADING": (BrokerUnavailableError, "it is loading its data"),
    "MASTERDOWN": (BrokerUnavailableError, "it has lost its master"),
    "CLUSTERDOWN": (BrokerUnavailableError, "the cluster is down"),
    "TRYAGAIN": (BrokerUnavailableError, "the cluster is moving this queue"),
    "BUSY": (BrokerUnavailableError, "it is busy with a script of another program"),
    "NOAUTH": (AccessDeniedError, "it requires a password; set password, and username if it has users"),
    "WRONGPASS": (AccessDeniedError, "it refuses the user or the password"),
    "NOPERM": (AccessDeniedError, "this user lacks a right; docs/how-to/redis.md lists the rights that it needs"),
    "MOVED": (UnsupportedError, "it is a cluster; set is_cluster_mode: true"),
    "CROSSSLOT": (UnsupportedError, "it is a cluster; set is_cluster_mode: true"),
}
_TEXTS: dict[str, tuple[type[DriverError], str]] = {
    "invalid bulk length": (MessageTooLargeError, "it refuses a value of this size"),
    "max number of clients": (BrokerUnavailableError, "it has no room for another connection; raise maxclients"),
    "auth": (AccessDeniedError, "it refuses the user or the password"),
    "invalid password": (AccessDeniedError, "it refuses the user or the password"),
}
"""Parts of answers that begin with ERR only."""
NOT_THE_MASTER = frozenset({"READONLY", "MASTERDOWN", "LOADING"})
"""After these another server may be the right one."""


def translated(problem: Exception, *, driver: str, queue: str, place: str) -> DriverError:
    """The DriverError for a problem, with ``place``, the servers as they may be shown, in its text."""
    kind, why = _meaning(problem)
    outcome: Outcome = "unknown" if isinstance(problem, LinkLostError) and problem.is_sent else "rejected"
    return kind(f"Redis at {place}: {why} ({problem})", driver=driver, queue=queue, outcome=outcome)


def _meaning(problem: Exception) -> tuple[type[DriverError], str]:
    if isinstance(problem, LinkLostError):
        if problem.is_timeout and problem.is_sent:
            return BrokerTimeoutError, "it did not answer in time"
        return BrokerUnavailableError, "it cannot be reached"
    if isinstance(problem, ReplyError) and problem.code in _MEANINGS:
        return _MEANINGS[problem.code]
    text = str(problem).lower()
    return next((meaning for part, meaning in _TEXTS.items() if part in text), (DriverError, "it refuses a command"))
