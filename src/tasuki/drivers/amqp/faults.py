"""What the broker says when it says no, and the errors that it becomes."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from tasuki.drivers.amqp.protocol import frames
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

Fate = Literal["stored", "refused", "unroutable", "doubtful", "oversized"]
"""What became of a published message; ``doubtful``: it may have been another one of the same id; ``oversized``: not
sent, for its headers do not fit into a frame."""

ACCESS_REFUSED, NOT_FOUND, RESOURCE_LOCKED, PRECONDITION_FAILED, NOT_ALLOWED = 403, 404, 405, 406, 530
INTERNAL_ERROR = 541


_REMEDY = "give the queue a longer consumer_timeout, and see what a policy and the broker's own consumer_timeout allow"
TAKEN_BACK = (
    "the broker ended a consumer and took its messages back: its queue was deleted, or a message was held for "
    f"longer than the consumer_timeout in force; {_REMEDY}"
)


class ClosedError(Exception):
    """A connection or channel has ended; ``code`` is the broker's, 0 where there is none."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(f"{code} {text}" if code else text)

    @property
    def is_for_size(self) -> bool:
        """Whether a message was larger than the broker takes."""
        return self.code == PRECONDITION_FAILED and "larger than" in self.text

    @property
    def is_for_time(self) -> bool:
        """Whether a delivery was held for longer than the broker allows."""
        return self.code == PRECONDITION_FAILED and "acknowledgement" in self.text and "timed out" in self.text


class LateError(Exception):
    """No answer within the deadline."""


def refused(error: OSError) -> ClosedError:
    """Why no connection came about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return ClosedError(0, f"the broker's certificate is not trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return ClosedError(0, f"TLS failed: {error.reason or 'cut off'}")
    return ClosedError(0, error.strerror or str(error) or "refused")


@dataclass(frozen=True)
class Errors:
    """Makes the driver's errors; they name the driver, the broker's address and the queue, and no secret."""

    driver: str
    broker: str

    def of(self, error: ClosedError | LateError, queue: str = "", outcome: Outcome | None = None) -> DriverError:
        """The error for what ended a call.

        A failed precondition is mended by a new channel (it was held longer than the ``consumer_timeout``); where it is
        not, in a declaration, that says so itself.
        """
        if isinstance(error, LateError):
            return self.make(BrokerTimeoutError, queue, "no answer within the deadline", "unknown")
        kind: type[DriverError] = BrokerUnavailableError
        if error.code in {ACCESS_REFUSED, NOT_ALLOWED}:
            kind = AccessDeniedError
        elif error.code == NOT_FOUND and queue:
            kind = QueueNotFoundError
        problem = f"{error}; the broker has taken the messages of this process back; {_REMEDY}"
        return self.make(kind, queue, problem if error.is_for_time else str(error), outcome)

    def of_fate(self, fate: Fate, queue: str, frame_max: int = 0) -> DriverError | None:
        """The error for a message that the broker answered for, or that no frame of the connection can carry."""
        if fate == "stored":
            return None
        if fate == "unroutable":
            return self.make(QueueNotFoundError, queue, "it was deleted at the broker; the message was not stored")
        if fate == "refused":
            problem = "the broker refused the message: the queue is full, or the broker cannot store messages now"
            return self.make(QueueFullError, queue, problem)
        if fate == "oversized":
            problem = (
                f"its headers take more than the {frame_max - frames.AROUND_PROPERTIES} bytes that fit into one frame; "
                "send fewer, or raise frame_size here and frame_max at the broker"
            )
            return self.make(MessageTooLargeError, queue, problem)
        problem = "one of several messages with this id was not routed; it is not known which one"
        return self.make(BrokerUnavailableError, queue, problem, "unknown")

    def make(self, kind: type[DriverError], queue: str, problem: str, outcome: Outcome | None = None) -> DriverError:
        """An error of a kind."""
        where = f"queue {queue!r} of driver {self.driver!r}" if queue else f"driver {self.driver!r}"
        return kind(f"{where} at {self.broker}: {problem}", driver=self.driver, queue=queue, outcome=outcome)

    @contextmanager
    def translating(self, queue: str = "") -> Iterator[None]:
        """What the broker says in this block, as errors of the driver."""
        try:
            yield
        except (ClosedError, LateError) as error:
            raise self.of(error, queue) from error
