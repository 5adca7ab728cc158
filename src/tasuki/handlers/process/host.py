"""What a kind of handler does for its children, and how it learns of their deaths."""

from __future__ import annotations

from contextvars import Context as Variables
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.handlers.process.failure import Failure

Late = Literal["", "time", "cancel"]


@dataclass(frozen=True, slots=True)
class Death:
    """Why a child is no more: what it did wrong (empty: nothing we know of), and how its process ended.

    ``late`` is empty, or why the worker killed it: a call of it had used up its ``time``, or one that was cancelled
    (``cancel``) did not end. ``was_waiting``: the call in question was waiting for an answer then; ``beside``: how many
    others there were.
    """

    problem: str
    how: str
    late: Late
    was_waiting: bool
    beside: int

    def cause(self) -> str:
        """The end of a sentence that begins with the process."""
        if self.late:
            return "was killed, because another message in it did not end when it was cancelled"
        if self.problem:
            return f"was killed: it sent {self.problem}"
        return self.how + (" (from outside, or for lack of memory)" if self.how.endswith("SIGKILL") else "")


class Host(Protocol):
    """What a kind of handler does for its children."""

    def answer(self, context: Context, operation: str, args: list[Any]) -> Any:
        """The value of an operation, or a coroutine of it.

        Raises:
            ProtocolError: the child may not ask for that, or not with these arguments.
            Exception: it failed; the child gets the error.
        """

    def failure(self, error: Exception) -> Failure:
        """The fields of an error of an operation, for the child."""

    def cost(self, variables: Variables) -> float:
        """Seconds of processor time that a call, known by its context variables, has cost outside its child so far."""

    def charge(self, variables: Variables, seconds: float) -> None:
        """A call has used so many in its child so far."""

    def note(self, context: Context | None, args: list[Any]) -> None:
        """Write a log record of a call, or of none. Raises ProtocolError."""

    def ready(self, told: Any) -> None:
        """A child is ready; what its ``boot`` returned. Raises ProtocolError."""

    def died(self, death: Death) -> HandlerError:
        """The error of a call whose child is no more."""
