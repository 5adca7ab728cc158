"""Messages that have failed, as ``peek`` shows them (clause 38)."""

from __future__ import annotations

from tasuki.message import LAST_ERROR, LAST_ERROR_TIME, HeaderValue, Message


def failed(id: str, body: bytes, headers: dict[str, HeaderValue], error: str, at: float) -> Message:
    """The message with its last error, given at this time (Unix seconds), among its headers."""
    return Message(id, body, {**headers, LAST_ERROR: error, LAST_ERROR_TIME: at})
