"""Controller: starts, watches, restarts and stops one service; each verb is a task with a time limit.

A controller is in one of three conditions, all of them seen in its two tasks: idle (neither task), alive (``_life``
starts, watches and restarts), stopping (``_stop_task``). The only state that outlasts a life is whether the service may
hold resources (``_is_open``), so each start of a service has exactly one stop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from tasuki.backoff import is_told
from tasuki.clock import Clock
from tasuki.errors import LifecycleError, RestartLimitError, StartTimeoutError, StopTimeoutError, TasukiError
from tasuki.supervisor.spec import Restarts, ServiceSpec, State, Status, may_follow
from tasuki.units import format_duration

CANCEL_GRACE = 1.0
"""Seconds for which a cancelled verb may still run; after that the supervisor goes on without it, and logs that."""


_log = logging.getLogger("tasuki.supervisor")


class StepTimeoutError(Exception):
    """A verb took too long; not a TimeoutError, which the verb may raise for its own reasons."""


async def run_step(verb: Coroutine[Any, Any, None], *, name: str, timeout: float | None = None) -> None:
    """Await a verb for at most ``timeout`` seconds (None: no limit); cancelled along with the caller.

    Raises:
        StepTimeoutError: the time is over; the verb was cancelled.
        LifecycleError: the verb tried to end the process, or cancelled itself. (A client library may raise
            CancelledError for a lost connection; it must not be taken for the cancellation of the caller.)
    """
    task = asyncio.create_task(_contain(verb, name), name=name)
    task.add_done_callback(retrieve)
    try:
        await asyncio.wait({task}, timeout=timeout)
    except asyncio.CancelledError:
        await _end(task, name)
        raise
    if not task.done():
        await _end(task, name)
        if not task.done() or task.cancelled():
            raise StepTimeoutError
    if task.cancelled():
        raise LifecycleError(f"{name} was cancelled from within")
    task.result()


async def _contain(verb: Coroutine[Any, Any, None], name: str) -> None:
    try:
        await verb
    except (SystemExit, KeyboardInterrupt) as error:
        # A task that raises these takes the whole loop with it.
        raise LifecycleError(f"{name} raised {type(error).__name__}") from error


async def _end(task: asyncio.Task[None], name: str) -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=CANCEL_GRACE)
    if not task.done():
        _log.error("%s does not end when cancelled; the supervisor goes on without it", name)


def retrieve(task: asyncio.Task[None]) -> None:
    """Retrieve the error of a task that may never be awaited, so that asyncio does not report it."""
    if not task.cancelled():
        task.exception()


STOP_GRACE = 5.0
"""Seconds beyond its timeout in which a service may release its remaining work, before its stop is cancelled."""


class Controller:
    """Runs the life of one service and calls ``notify`` at every change of state, which must not raise.

    ``is_brief``: failures are logged for debugging only, as the caller raises them.
    """

    def __init__(self, spec: ServiceSpec, *, clock: Clock, notify: Callable[[], None], is_brief: bool = False) -> None:
        self._is_brief = is_brief
        self.spec = spec
        self.status = Status(since=clock.monotonic())
        self._clock = clock
        self._notify = notify
        self._life: asyncio.Task[None] | None = None
        self._stop_task: asyncio.Task[None] | None = None
        self._stop_limit = 0.0
        self._is_open = False

    @property
    def is_idle(self) -> bool:
        """Whether the service may be launched, as nothing of it runs."""
        return self._life is None and self._stop_task is None

    @property
    def is_alive(self) -> bool:
        """Whether the service is started, watched and restarted."""
        return self._life is not None and self._stop_task is None

    @property
    def needs_stop(self) -> bool:
        """Whether there is anything to stop."""
        return not self.is_idle or self._is_open

    def launch(self) -> None:
        """Launch the service unless it is launched; returns before it is running."""
        if self.is_idle:
            self._life = asyncio.create_task(self._live(), name=f"tasuki service {self.spec.id}")
            self._enter(State.STARTING, failures=0)

    async def stop(self, timeout: float | None = None) -> None:
        """End the life and stop the service within ``timeout`` seconds (None, and at most: its ``stop_timeout``).

        Goes on when the caller is cancelled. A second call joins the stop under way; with a shorter timeout it also
        hurries it: the service's ``stop`` is called again with that.

        Raises:
            StopTimeoutError: unfinished work was released, or the service did not return in time.
            LifecycleError: its ``stop`` failed.
        """
        limit = self.spec.stop_timeout if timeout is None else min(timeout, self.spec.stop_timeout)
        if self._stop_task is None:
            if not self.needs_stop:
                return
            self._stop_limit = limit
            self._stop_task = asyncio.create_task(self._stop(), name=f"tasuki stop {self.spec.id}")
            self._stop_task.add_done_callback(retrieve)
        elif limit < self._stop_limit:
            self._stop_limit = limit
            if self.status.state is State.STOPPING:
                await self._hurry(limit)
        if self._stop_task is not None:
            await asyncio.shield(self._stop_task)

    async def _live(self) -> None:
        restarts = Restarts(
            self.spec.restart, stable_threshold=self.spec.stable_threshold, is_required=self.spec.is_required
        )
        if self._is_open:
            await self._tidy()
        while True:
            try:
                await self._start()
                await run_step(self.spec.service.wait(), name=f"service {self.spec.id!r}")
            except Exception as error:
                status = self.status
                ran_for = self._clock.monotonic() - status.since if status.state is State.RUNNING else None
                delay = restarts.failed(error, ran_for)
                await self._fail(error, restarts, delay)
                if delay is None:
                    return
                await asyncio.sleep(delay)
                self._enter(State.STARTING)
            else:
                self._life = None
                self._enter(State.EXITED)
                _log.info("service %r ended by itself", self.spec.id)
                return

    async def _start(self) -> None:
        self._is_open = True
        name = f"start of service {self.spec.id!r}"
        try:
            await run_step(self.spec.service.start(), name=name, timeout=self.spec.start_timeout)
        except StepTimeoutError as error:
            limit = format_duration(self.spec.start_timeout)
            raise StartTimeoutError(
                f"service {self.spec.id!r} was not running after {limit} (start_timeout)", service=self.spec.id
            ) from error
        if self.status.failures:
            _log.info("service %r is running (failures before: %d)", self.spec.id, self.status.failures)
        self._enter(State.RUNNING)

    async def _fail(self, error: Exception, restarts: Restarts, delay: float | None) -> None:
        """Enter ``failed``, free the service's resources, and give up after the last attempt."""
        verb = "failed" if restarts.has_run else "cannot start"
        next_step = "giving up" if delay is None else f"next attempt in {format_duration(delay)}"
        level = logging.ERROR if delay is None else logging.WARNING if is_told(restarts.failures) else logging.DEBUG
        level = logging.DEBUG if self._is_brief else level
        unexpected = None if isinstance(error, TasukiError) else error
        _log.log(level, "service %r %s: %s; %s", self.spec.id, verb, _text(error), next_step, exc_info=unexpected)
        self._enter(State.FAILED, error, restarts.failures)
        await self._tidy()
        if delay is None:
            self._life = None
            self._give_up(error, restarts)

    async def _tidy(self) -> None:
        try:
            await self._close(self.spec.stop_timeout)
        except LifecycleError as error:
            _log.warning("%s", error)

    def _give_up(self, error: Exception, restarts: Restarts) -> None:
        id, text = self.spec.id, _text(error)
        if restarts.is_spent:
            limit = self.spec.restart.max_attempts
            final: LifecycleError = RestartLimitError(
                f"service {id!r} failed {restarts.failures} times in a row (restart.max_attempts: {limit}): {text}",
                service=id,
            )
        else:
            final = LifecycleError(f"service {id!r} cannot start: {text}", service=id)
        final.__cause__ = error
        self.status = replace(self.status, error=final, has_given_up=True)
        self._notify()

    async def _stop(self) -> None:
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait({self._life})
            self._life = None
        if self._is_open:
            self._enter(State.STOPPING)
            try:
                await self._close(self._stop_limit)
            except LifecycleError as error:
                self._stop_task = None
                self._enter(State.FAILED if self._is_open else State.STOPPED, error)
                raise
        self._stop_task = None
        self._enter(State.STOPPED)

    async def _close(self, limit: float) -> None:
        name = f"stop of service {self.spec.id!r}"
        try:
            await run_step(self.spec.service.stop(limit), name=name, timeout=limit + STOP_GRACE)
        except StopTimeoutError as error:
            # The service itself says so: it has let go of everything, late.
            self._is_open = False
            error.service = error.service or self.spec.id
            raise
        except StepTimeoutError as error:
            raise StopTimeoutError(
                f"service {self.spec.id!r} did not stop within {format_duration(limit)} (stop_timeout)",
                service=self.spec.id,
            ) from error
        except Exception as error:
            raise LifecycleError(
                f"service {self.spec.id!r} failed to stop: {_text(error)}", service=self.spec.id
            ) from error
        self._is_open = False

    async def _hurry(self, limit: float) -> None:
        try:
            name = f"second stop of service {self.spec.id!r}"
            await run_step(self.spec.service.stop(limit), name=name, timeout=limit + STOP_GRACE)
        except Exception as error:
            # The first stop reports unfinished work.
            _log.debug("second stop of service %r: %s", self.spec.id, _text(error))

    def _enter(self, state: State, error: Exception | None = None, failures: int | None = None) -> None:
        old = self.status
        if not may_follow(old.state, state):
            raise AssertionError(f"service {self.spec.id!r} went from {old.state} to {state}")
        if failures is None:
            failures = old.failures if state is State.STARTING or state is State.RUNNING else 0
        self.status = Status(state, self._clock.monotonic(), failures, error)
        _log.debug("service %r: %s, was %s", self.spec.id, state, old.state)
        self._notify()


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
