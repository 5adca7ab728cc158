"""Service, and ServiceSpec: a service with its limits and its rule of restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from tasuki.backoff import UNTIL_BACK, Backoff
from tasuki.errors import StartTimeoutError


class Service(Protocol):
    """Something with a life: a driver's connection, a consumer, an HTTP server.

    The same object may be started again after it has stopped or failed; a double stop is harmless.
    """

    async def start(self) -> None:
        """Return when running; raise when that cannot be."""

    async def wait(self) -> None:
        """Return when it has ended by itself (``exited``); raise when it has failed. Cancelled by the supervisor."""

    async def stop(self, timeout: float) -> None:
        """Drain: finish held messages within ``timeout`` seconds, release the others, then return.

        Raises:
            StopTimeoutError: some work had not ended, and was released.
        """


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How a failed service is restarted; at most ``max_attempts`` times in a row, 0: no limit."""

    backoff: Backoff = field(default_factory=Backoff)
    max_attempts: int = 0


class Restarts:
    """Counts the failures in a row of one service, from its launch on."""

    def __init__(self, policy: RestartPolicy, *, stable_threshold: float, is_required: bool) -> None:
        self._policy = policy
        self._stable_threshold = stable_threshold
        self._is_required = is_required
        self.has_run = False
        self.failures = 0

    def failed(self, error: BaseException, ran_for: float | None) -> float | None:
        """Note a failure after ``ran_for`` seconds of running (None: this attempt never ran).

        Returns the seconds to wait before the next attempt, no more than for any broker where one is unavailable, or
        None when there is to be none: the attempts are spent, or a required service never ran and waiting will not
        change why.
        """
        if ran_for is not None:
            self.has_run = True
            if ran_for >= self._stable_threshold:
                self.failures = 0
        self.failures += 1
        is_away = is_worth_waiting(error)
        is_hopeless = self._is_required and not self.has_run and not is_away
        if is_hopeless or self.is_spent:
            return None
        backoff = self._policy.backoff
        if is_away:
            backoff = replace(backoff, max_delay=min(backoff.max_delay, UNTIL_BACK.max_delay))
        return backoff.delay(self.failures)

    @property
    def is_spent(self) -> bool:
        """Whether there were more failures in a row than ``max_attempts`` allows."""
        return 0 < self._policy.max_attempts < self.failures


def is_worth_waiting(error: BaseException) -> bool:
    """Whether a later start may succeed without a change: the broker is unavailable, or the start hangs."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_worth_waiting(inner) for inner in error.exceptions)
    return isinstance(error, StartTimeoutError) or getattr(error, "retryable", None) is True


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A service with its place in the order and its limits; times in seconds."""

    id: str
    service: Service
    depends_on: Sequence[str] = ()
    auto_start: bool = False
    start_timeout: float = 10.0
    stop_timeout: float = 10.0
    stable_threshold: float = 5.0
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    startup: Literal["required", "optional"] = "required"

    @property
    def is_required(self) -> bool:
        """Whether the start of all services fails without this one."""
        return self.startup == "required"
