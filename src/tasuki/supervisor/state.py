"""The states of a service, and the transitions between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The state of a service in its life."""

    UNKNOWN = "unknown"
    """Never started."""
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    """Ended by an error: it waits for its next attempt, or has given up."""
    EXITED = "exited"
    """Ended by itself."""


UP = frozenset({State.RUNNING, State.EXITED})
"""States of a dependency that let its dependents start."""

_NEXT: Mapping[State, frozenset[State]] = {
    State.UNKNOWN: frozenset({State.STARTING}),
    State.STARTING: frozenset({State.RUNNING, State.FAILED, State.STOPPING}),
    State.RUNNING: frozenset({State.EXITED, State.FAILED, State.STOPPING}),
    State.STOPPING: frozenset({State.STOPPED, State.FAILED}),
    State.STOPPED: frozenset({State.STARTING}),
    State.FAILED: frozenset({State.STARTING, State.STOPPING, State.STOPPED}),
    State.EXITED: frozenset({State.STARTING, State.STOPPING}),
}


def may_follow(old: State, new: State) -> bool:
    """Whether a service may go from ``old`` to ``new``."""
    return new in _NEXT[old]


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a service at one moment."""

    state: State = State.UNKNOWN
    since: float = 0.0
    """Monotonic seconds at which it entered the state."""
    failures: int = 0
    """Failures in a row so far; reset after a run of ``stable_threshold``."""
    error: Exception | None = None
    """Why it failed, or why it stopped late."""
    has_given_up: bool = False
    """Whether it failed and will not be started again."""
