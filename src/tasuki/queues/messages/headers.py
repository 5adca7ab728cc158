"""Headers, id, key, priority and ``reply_to`` of a publish, checked before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasuki.errors import PublishError, QueueNotFoundError
from tasuki.ids import resolve_id
from tasuki.message import REPLY_TO, HeaderValue, is_reserved

if TYPE_CHECKING:
    from tasuki.security.guard import Guard


MAX_HEADERS = 128

MAX_HEADER_BYTES = 64 * 1024

MAX_NAME_CHARS = 255

ERROR_REPLY = "error"
"""The ``message_type`` of a reply that says why there is no result; its body has kind, message and retryable."""


_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1


class RequesterGoneError(QueueNotFoundError):
    """The reply queue that a requester had made for itself is gone, and so is the requester."""


def check_headers(headers: Mapping[str, HeaderValue]) -> dict[str, HeaderValue]:
    """A copy of the headers, all of which every driver can carry unchanged.

    Raises:
        PublishError: a reserved name, a name or value of another type, a number that does not fit, or too many.
    """
    if not isinstance(headers, Mapping):
        raise PublishError(f"headers must be a mapping, not {type(headers).__name__}")
    if len(headers) > MAX_HEADERS:
        raise PublishError(f"{len(headers)} headers are more than {MAX_HEADERS}")
    size = 0
    checked: dict[str, HeaderValue] = {}
    for name, value in headers.items():
        size += _check_name(name) + _check_value(name, value)
        checked[_plain(name)] = _plain(value)
    if size > MAX_HEADER_BYTES:
        raise PublishError(f"headers of {size} bytes are larger than {MAX_HEADER_BYTES}")
    return checked


def _plain(value: Any) -> Any:
    """The value, without its enum or another subclass: brokers carry plain types only."""
    kind = type(value)
    if kind is str or kind is int or kind is float or kind is bool:
        return value
    if isinstance(value, str):
        return str.__str__(value)  # not str(value): an enum says its name there
    return int.__int__(value) if isinstance(value, int) else float.__float__(value)


def _check_name(name: Any) -> int:
    if not isinstance(name, str):
        raise PublishError(f"header name {name!r} must be text")
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise PublishError(f"header name {name[:64]!r} must be 1 to {MAX_NAME_CHARS} printable characters")
    if is_reserved(name):
        raise PublishError(f"header {name!r} is reserved: only Tasuki sets 'attempts' and names that start with 'x_'")
    return len(name)


def _check_value(name: str, value: Any) -> int:
    if isinstance(value, bool):
        return 1
    if isinstance(value, int):
        if not _MIN_INT <= value <= _MAX_INT:
            raise PublishError(f"header {name!r}: {value} does not fit into 64 bits")
        return 8
    if isinstance(value, float):
        if not math.isfinite(value):
            raise PublishError(f"header {name!r}: {value} is not a finite number")
        return 8
    if isinstance(value, str):
        try:
            return len(value.encode())
        except UnicodeEncodeError as error:
            raise PublishError(f"header {name!r}: the text is not valid Unicode") from error
    raise PublishError(f"header {name!r} must be a bool, int, float or text, not {type(value).__name__}")


def check_name(what: str, value: Any) -> str:
    """A message id or key: 1 to 255 printable characters. Raises PublishError that names ``what``."""
    if not isinstance(value, str) or not value or len(value) > MAX_NAME_CHARS or not value.isprintable():
        raise PublishError(f"{what} must be text of 1 to {MAX_NAME_CHARS} printable characters, not {value!r:.80}")
    return value


def check_priority(value: Any) -> int:
    """A priority: a whole number from 0 to 9. Raises PublishError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 9:
        raise PublishError(f"priority must be a whole number from 0 to 9 (9 first), not {value!r:.80}")
    return value


def reply_queue_id(reply_to: str, queue: str) -> str:
    """The id that ``reply_to`` names in a message of ``queue``; a bare name is of that queue's namespace."""
    return resolve_id(reply_to, queue.partition(":")[0])


def check_reply_to(guard: Guard, queue: str, headers: Mapping[str, HeaderValue] | None) -> None:
    """Return if the headers of a message for ``queue`` name no reply queue, or one that the guard may publish to.

    The consumer answers with its own rights: without this check a publisher could have it write where the publisher
    itself may not.

    Raises:
        PolicyDeniedError: the guard may not publish to the reply queue.
    """
    reply_to = headers.get(REPLY_TO) if isinstance(headers, Mapping) else None
    if isinstance(reply_to, str):
        guard.publish(reply_queue_id(reply_to, queue))
