"""The dead letter of a message that a consumer gives up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tasuki.consumers.settling.verdict import Verdict
from tasuki.contracts.driver import Outgoing, Received
from tasuki.message import (
    CONSUMER,
    CONTENT_TYPE,
    CORRELATION_ID,
    ERROR_TYPE,
    LEFT_OUT,
    MESSAGE_TYPE,
    PARTITION_KEY,
    PLACE,
    PRIORITY,
    REPLY_TO,
    TIMESTAMP,
    is_reserved,
)
from tasuki.observe.tracebacks import kept_traceback
from tasuki.queues.dead.attempts import AttemptRecord
from tasuki.queues.dead.cause import Origin, origin_of
from tasuki.queues.dead_letter import dead_letter

if TYPE_CHECKING:
    from tasuki.queues.queue import Queue

_TRACEBACK_CHARS = 2000
"""Most characters of a traceback in a dead letter."""


_ERROR_CHARS = 200
"""Characters of an error in a dead letter that would be too large with more."""
_NEEDED = frozenset({CONTENT_TYPE, CORRELATION_ID, MESSAGE_TYPE, PARTITION_KEY, PRIORITY, REPLY_TO, TIMESTAMP})
"""Headers of a publisher without which a redriven message would be another one."""
_DISPENSABLE = frozenset({PLACE, ERROR_TYPE, CONSUMER})


class LetterDraft:
    """The message for the dead-letter queue, with why it was given up; it can be made smaller.

    Args:
        queue: where the message comes from.
        records: its earlier attempts and the last one.
    """

    def __init__(
        self,
        received: Received,
        verdict: Verdict,
        queue: Queue,
        consumer: str,
        records: Iterable[AttemptRecord] = (),
    ) -> None:
        self._received = received
        self._verdict = verdict
        self._queue = queue
        self._consumer = consumer
        self._records = list(records)
        parts = {
            "attempts": self._records,
            "traceback": verdict.cause is not None,
            "error": len(verdict.error) > _ERROR_CHARS,
            "headers": True,
        }
        self._parts = [name for name, is_there in parts.items() if is_there]
        self.left_out: list[str] = []
        """The parts that it leaves out, as it is too large with them."""

    def shrink(self) -> bool:
        """Leave out the next part; False: nothing is left that it can do without."""
        if not self._parts:
            return False
        self.left_out.append(self._parts.pop(0))
        return True

    def made(self, now: float) -> Outgoing:
        """The message; ``now``: Unix time."""
        received, verdict = self._received, self._verdict
        cause = None if "traceback" in self.left_out else verdict.cause
        letter = dead_letter(
            received,
            queue=self._queue.id,
            reason=verdict.reason,
            error=verdict.error[:_ERROR_CHARS] if "error" in self.left_out else verdict.error,
            attempts=received.attempt,
            now=now,
            content_type=self._queue.codec.name,
            traceback="" if cause is None else self._traceback(cause),
            origin=self._origin(),
            consumer=self._consumer,
            records=() if "attempts" in self.left_out else self._records,
        )
        if "headers" in self.left_out:
            letter.headers = {name: value for name, value in letter.headers.items() if _is_needed(name)}
        if self.left_out:
            letter.headers[LEFT_OUT] = " ".join(self.left_out)
        return letter

    def _traceback(self, cause: BaseException) -> str:
        """The end of the traceback of the last record, which was made of the same error."""
        if not self._records:
            return kept_traceback(cause, _TRACEBACK_CHARS)
        text = self._records[-1].traceback
        return text if len(text) <= _TRACEBACK_CHARS else "…" + text[1 - _TRACEBACK_CHARS :]

    def _origin(self) -> Origin | None:
        if self._records and (last := self._records[-1]).place:
            return Origin(last.type, last.place)
        return _origin(self._verdict, self._consumer)


def _is_needed(header: str) -> bool:
    return header in _NEEDED or (is_reserved(header) and header not in _DISPENSABLE)


def origin_for(verdict: Verdict, consumer: str) -> Origin:
    """The type of the error, and where it was raised, as far as they are known."""
    return _origin(verdict, consumer) or Origin()


def _origin(verdict: Verdict, consumer: str) -> Origin | None:
    """Where it was raised; of a worker that died only the consumer is known. None: its text says all there is."""
    if verdict.reason == "worker_died":
        return Origin(place=consumer)
    if verdict.cause is None:
        return Origin(verdict.kind)
    try:
        return origin_of(verdict.cause)
    except Exception:  # an error whose causes raise: the letter must go all the same
        return None
