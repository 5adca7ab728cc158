"""Failures: what the client and the server report → the errors of the driver contract."""

from __future__ import annotations

import json
from typing import Any

from tasuki.drivers.toolkit.address import shown
from tasuki.errors import (
    AccessDeniedError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    Outcome,
    QueueConflictError,
    QueueFullError,
    QueueNotFoundError,
    StorageFullError,
    ThrottledError,
)

NO_RESPONDERS = "503"
_DENIALS = ("authorization", "authentication", "nkey", "account")
UNTAKEN = "no stream takes the message"
_STREAM_NOT_FOUND = 10059
_CONSUMER_NOT_FOUND = 10014
_MESSAGE_NOT_FOUND = 10037
_NAME_IN_USE = 10058
_SUBJECTS_OVERLAP = 10065
_STORE_FAILED = 10077
_MESSAGE_TOO_LARGE = 10054
_REPLICAS = 10074
_NO_PEERS = 10005
"""Too few servers of the cluster can take a replica just now."""
_FULL = ("maximum messages exceeded", "maximum bytes exceeded")
_WRONG_SEQUENCE = frozenset({10071, 10164})
_NO_ROOM = frozenset({10023, 10028, 10047, 10002})
"""Out of resources: the server's or the account's limits of storage."""
_BUSY = frozenset({10167, 10122})

_TYPES: dict[int, type[DriverError]] = {
    _STREAM_NOT_FOUND: QueueNotFoundError,
    _CONSUMER_NOT_FOUND: BrokerUnavailableError,
    _NO_PEERS: BrokerUnavailableError,
    _NAME_IN_USE: QueueConflictError,
    _SUBJECTS_OVERLAP: QueueConflictError,
    _MESSAGE_TOO_LARGE: MessageTooLargeError,
    _REPLICAS: QueueConflictError,
    _STORE_FAILED: BrokerUnavailableError,
    **dict.fromkeys(_NO_ROOM, StorageFullError),
    **dict.fromkeys(_BUSY, ThrottledError),
}


def refusal(error: Any, *, driver: str, queue: str) -> DriverError:
    """The error of a JetStream answer ``{"code", "err_code", "description"}``; whatever it is, nothing was stored."""
    fields = error if isinstance(error, dict) else {}
    code, status = int(fields.get("err_code", 0)), int(fields.get("code", 0))
    text = str(fields.get("description", "unknown reason"))
    type_ = QueueFullError if text in _FULL else _TYPES.get(code)
    if type_ is None:
        type_ = BrokerUnavailableError if status >= 500 else QueueConflictError
    return type_(f"queue {queue!r}: NATS refuses: {text} ({code})", driver=driver, queue=queue, outcome="rejected")


def is_stream_missing(error: Any) -> bool:
    """Whether a JetStream answer says that the stream is not there."""
    return isinstance(error, dict) and error.get("err_code") == _STREAM_NOT_FOUND


def is_message_missing(error: Any) -> bool:
    """Whether a JetStream answer says that the stream has no such message."""
    return isinstance(error, dict) and error.get("err_code") == _MESSAGE_NOT_FOUND


def is_stream_or_message_missing(error: Any) -> bool:
    """Whether a JetStream answer says that the stream has no such message, or is not there."""
    return is_stream_missing(error) or is_message_missing(error)


def is_wrong_sequence(error: Any) -> bool:
    """Whether a JetStream answer says that another message came before, where a publish named the one it expects."""
    return isinstance(error, dict) and error.get("err_code") in _WRONG_SEQUENCE


def is_name_taken(error: Any) -> bool:
    """Whether a JetStream answer says that a stream of this name is there, with another configuration."""
    return isinstance(error, dict) and error.get("err_code") == _NAME_IN_USE


def is_missing(error: Any) -> bool:
    """Whether a JetStream answer says that the stream or the consumer is not there."""
    return isinstance(error, dict) and error.get("err_code") in {_STREAM_NOT_FOUND, _CONSUMER_NOT_FOUND}


def answer_in(answer: bytes) -> dict[str, Any]:
    """The fields of a JetStream answer; text that is no answer is one with an ``error``."""
    try:
        fields = json.loads(answer)
    except ValueError:
        fields = None
    return fields if isinstance(fields, dict) else {"error": {"code": 500, "description": "not an answer"}}


def lost(why: BaseException | str, *, driver: str, queue: str = "", outcome: Outcome = "rejected") -> DriverError:
    """The connection is not there; ``outcome`` is unknown where something had been sent."""
    text = f"driver {driver!r}: NATS is not reachable: {described(why)}"
    return BrokerUnavailableError(text, driver=driver, queue=queue, outcome=outcome)


def is_untaken(problem: object) -> bool:
    """Whether a publish found no stream for the message."""
    return isinstance(problem, BrokerUnavailableError) and UNTAKEN in str(problem)


def denied(why: BaseException | str, *, driver: str, outcome: Outcome = "rejected") -> DriverError:
    """The server does not let us in, or not do that."""
    text = f"driver {driver!r}: NATS refuses the credentials or the operation: {described(why)}"
    return AccessDeniedError(text, driver=driver, outcome=outcome)


def unconnected(why: BaseException, server: str, *, driver: str) -> DriverError:
    """Why a connection could not be made."""
    if any(word in str(why).lower() for word in _DENIALS):
        return denied(why, driver=driver)
    reason = "no answer to the connection" if isinstance(why, TimeoutError) else described(why)
    return lost(f"{shown(server)}: {reason}", driver=driver)


def described(why: BaseException | str) -> str:
    """The reason in a line; exceptions of the client carry no secrets, but may have no text."""
    text = str(why).strip().removeprefix("nats: ").strip("'\"")
    return text[:300] or type(why).__name__
