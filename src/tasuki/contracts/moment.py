"""Moments: the events of a worker and its messages for which hooks are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tasuki.message import HeaderValue, Message

MomentName = Literal["start", "stop", "publish", "begin", "done", "failed", "give_up", "discard"]


@dataclass(slots=True, eq=False)
class Moment:
    """One event. Texts that do not apply are empty, and values None."""

    name: MomentName
    """``start`` and ``stop`` are of the worker process, all others of one message."""
    queue: str = ""
    """Id of the queue."""
    consumer: str = ""
    """Id of the consumer."""
    function: str = ""
    """Id of the function."""
    task: str = ""
    """Name of the task, of a message that names one."""
    message: Message | None = None
    attempt: int = 0
    """Which attempt it is or was, from 1; 0 of a message that is published."""
    seconds: float | None = None
    """For which the handler ran."""
    error: BaseException | None = None
    """Why the publish or the handler failed; a signal such as Retry too."""
    reason: str = ""
    """Why the message is given up or discarded: ``max_attempts``, ``rejected``, ``expired``, ``cancelled`` …"""
    delay: float | None = None
    """Seconds until the next attempt of a message that failed."""
    decode: Callable[[Message], Any] | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """The message's id."""
        return "" if self.message is None else self.message.id

    @property
    def headers(self) -> Mapping[str, HeaderValue]:
        """The message's headers."""
        return {} if self.message is None else self.message.headers

    @property
    def body(self) -> Any:
        """The decoded body, of a task its arguments by name; the bytes where they cannot be decoded. Read when used."""
        if self.message is None or self.decode is None:
            return None
        try:
            return self.decode(self.message)
        except Exception:
            return self.message.body
