"""What the broker says when it says no, and the errors that it becomes."""

from __future__ import annotations

import ssl

from tasuki.errors import (
    AccessDeniedError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    Outcome,
    QueueConflictError,
    QueueNotFoundError,
)

ACCESS_REFUSED, NOT_FOUND, LOCKED, PRECONDITION_FAILED, NOT_ALLOWED = 403, 404, 405, 406, 530


class ClosedError(Exception):
    """A connection or channel has ended; ``code`` is the broker's, 0 where there is none."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(f"{code} {text}" if code else text)


class LateError(Exception):
    """No answer within the deadline."""


def refused(error: OSError) -> ClosedError:
    """Why no connection came about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return ClosedError(0, f"the broker's certificate is not trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return ClosedError(0, f"TLS failed: {error.reason or 'cut off'}")
    return ClosedError(0, error.strerror or str(error) or "refused")


def translated(
    error: ClosedError | LateError, *, driver: str, broker: str, queue: str = "", outcome: Outcome | None = None
) -> DriverError:
    """The driver's error for the broker's."""
    where = f"queue {queue!r} of driver {driver!r}" if queue else f"driver {driver!r}"
    if isinstance(error, LateError):
        return BrokerTimeoutError(f"{where}: no answer from {broker} within the deadline", driver=driver, queue=queue)
    kind: type[DriverError] = BrokerUnavailableError
    if error.code in {ACCESS_REFUSED, LOCKED, NOT_ALLOWED}:
        kind = AccessDeniedError
    elif error.code == NOT_FOUND and queue:
        kind = QueueNotFoundError
    elif error.code == PRECONDITION_FAILED:
        is_size = "larger than" in error.text
        kind = MessageTooLargeError if is_size else QueueConflictError
    return kind(f"{where} at {broker}: {error}", driver=driver, queue=queue, outcome=outcome)
