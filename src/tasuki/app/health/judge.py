"""Judge: whether messages move, decided from a row of looks at consumers and brokers. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki.supervisor.state import State, Status

PATIENCE = 3
"""Looks in a row without progress after which a consumer is stuck."""

SILENCE = 15.0
"""Seconds without any answer after which a broker that the driver takes for connected is not."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a consumer saw."""

    delivered: int = 0
    """Deliveries since the start."""
    settled: int = 0
    """Deliveries that are no longer held."""
    unsettled: int = 0
    """Deliveries whose handlers have ended, and which the broker has not taken back yet."""
    is_free: bool = False
    """Whether it consumes, has a free worker, and could hold more."""
    ready: bool | None = None
    """Whether messages wait for it; None: the broker has not told."""
    silence: float = 0.0
    """Seconds since the broker was asked whether any are ready, if it has not told."""
    problem: str = ""
    """Why it cannot consume now, as far as that is known."""


@dataclass(slots=True)
class Judge:
    """Judges a row of looks at one consumer."""

    delivered: int = -1
    """As the last look saw it; -1: there was none."""
    _settled: int = -1
    _idle: int = 0
    _unsettled: int = 0
    _heard: float = 0.0
    """How long the broker had been silent when the consumer last got on all the same: it was only slow to count."""

    def judge(self, look: Look) -> tuple[str, str]:
        """Why the consumer is not live, and why it is not ready; both empty if messages move."""
        stands_still = bool(look.ready) and look.is_free and look.delivered == self.delivered
        self._idle = self._idle + 1 if stands_still else 0
        # A broker that is known to be away takes no settlements, and a restart would not bring it back.
        is_left = look.unsettled > 0 and look.settled == self._settled and not look.problem
        self._unsettled = self._unsettled + 1 if is_left else 0
        is_moving = self.delivered >= 0 and (look.delivered, look.settled) != (self.delivered, self._settled)
        self._heard = look.silence if is_moving else min(self._heard, look.silence)
        self.delivered, self._settled = look.delivered, look.settled
        wedge = self._wedge(look)
        return wedge, wedge or look.problem

    def _wedge(self, look: Look) -> str:
        if (silence := look.silence - self._heard) >= SILENCE:
            return f"the broker has answered nothing for {silence:.0f} s"
        if self._idle >= PATIENCE:
            return "no progress although messages are ready and a worker is free"
        if self._unsettled >= PATIENCE:
            return f"{look.unsettled} handled messages are not settled"
        return ""


def problem_of(status: Status | None) -> str:
    """Why a service does not run; empty if it runs, or was never to start."""
    if status is None or status.state in (State.RUNNING, State.UNKNOWN):
        return ""
    why = f": {status.error}" if status.error is not None else ""
    return f"it has {'given up' if status.has_given_up else status.state.value}{why}" if why else status.state.value
