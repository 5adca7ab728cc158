"""Judge: whether messages move, decided from a series of observations. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki.supervisor.state import State, Status

PATIENCE = 3
"""Observations in a row without progress after which a consumer is stuck."""

SILENCE = 15.0
"""Seconds without any answer after which a connected broker counts as lost."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The state of one consumer at one time."""

    delivered: int = 0
    """Deliveries since the start."""
    settled: int = 0
    """Deliveries that are no longer held."""
    unsettled: int = 0
    """Deliveries whose handlers have ended, and whose settlement the broker has not taken yet."""
    is_free: bool = False
    """Whether it consumes, has a free worker, and could hold more."""
    ready: bool | None = None
    """Whether messages wait for it; None: the broker has not answered."""
    silence: float = 0.0
    """Seconds since the unanswered request to the broker whether any are ready; 0: it has answered."""
    problem: str = ""
    """Why it cannot consume now; empty: no known reason."""


@dataclass(slots=True)
class Judge:
    """Judges a series of observations of one consumer."""

    delivered: int = -1
    """Of the last observation; -1: there was none."""
    _settled: int = -1
    _idle: int = 0
    _unsettled: int = 0
    _heard: float = 0.0
    """How long the broker had been silent when the consumer last moved a message: until then it was only slow."""

    def judge(self, now: Observation) -> tuple[str, str]:
        """Why the consumer is not live, and why it is not ready; both empty if messages move."""
        stands_still = bool(now.ready) and now.is_free and now.delivered == self.delivered
        self._idle = self._idle + 1 if stands_still else 0
        # An unavailable broker takes no settlements, and a restart of this process would not bring it back.
        is_left = now.unsettled > 0 and now.settled == self._settled and not now.problem
        self._unsettled = self._unsettled + 1 if is_left else 0
        is_moving = self.delivered >= 0 and (now.delivered, now.settled) != (self.delivered, self._settled)
        self._heard = now.silence if is_moving else min(self._heard, now.silence)
        self.delivered, self._settled = now.delivered, now.settled
        stuck = self._stuck(now)
        return stuck, stuck or now.problem

    def _stuck(self, now: Observation) -> str:
        if (silence := now.silence - self._heard) >= SILENCE:
            return f"the broker has answered nothing for {silence:.0f} s"
        if self._idle >= PATIENCE:
            return "no progress although messages are ready and a worker is free"
        if self._unsettled >= PATIENCE:
            return f"{now.unsettled} handled messages are not settled"
        return ""


def problem_of(status: Status | None) -> str:
    """Why a service does not run; empty if it runs, or does not start by itself."""
    if status is None or status.state in (State.RUNNING, State.UNKNOWN):
        return ""
    why = f": {status.error}" if status.error is not None else ""
    return f"it has {'given up' if status.has_given_up else status.state.value}{why}" if why else status.state.value
