"""Several worker processes: started by exec, started again when they die, stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tasuki.app.health.report import Report
from tasuki.backoff import Backoff
from tasuki.cli.exits import CONFIG, INTERRUPTED, OK, RECYCLED, TERMINATED, USAGE
from tasuki.cli.worker.fleet_reports import FleetHealth, FleetMetrics
from tasuki.cli.worker.starting import held_for_a_child
from tasuki.cli.worker.watching import tasuki
from tasuki.errors import LifecycleError
from tasuki.observe.exposition.snapshots import Snapshot
from tasuki.supervisor.children.answering import ParentAnswers
from tasuki.supervisor.children.asking import Children, Heartbeat, SilenceLimits
from tasuki.system.process import processor_seconds
from tasuki.system.signals import Meaning, StopSignals, signals_on_loop

_log = logging.getLogger("tasuki.processes")


GONE = 5.0
"""Seconds after KILL in which the system removes a process, unless the kernel waits for a disk."""


class Child:
    """A process that has started; ``number`` is its number in the fleet. Belongs to the running loop."""

    def __init__(self, number: int, process: asyncio.subprocess.Process) -> None:
        self._number = number
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._is_killed = False
        self._left: asyncio.Future[int] = self._loop.create_future()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def send(self, number: int) -> None:
        """Send a signal, if the process still runs."""
        # Not by asyncio's own send_signal: before Python 3.14 it polls first, and that takes the exit code of a process
        # that has just ended from the one that waits for it (`ended` would say 255).
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill_in(self, seconds: float, why: str) -> None:
        """KILL it then, unless it has ended or an earlier call was for an earlier time; ``why`` is for the log."""
        at = self._loop.time() + seconds
        if self._is_killed or (self._timer is not None and self._timer.when() <= at):
            return
        self._cancel_timer()
        self._timer = self._loop.call_at(at, self._kill, why)

    async def ended(self) -> int:
        """Wait until it has ended, or until even KILL has not ended it; its exit code, 128 + n after signal n."""
        waiting: asyncio.Future[int] = asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait({waiting, self._left}, return_when=asyncio.FIRST_COMPLETED)
            code = waiting.result() if waiting.done() else self._left.result()
        finally:
            self._cancel_timer()
            waiting.cancel()
        return code if code >= 0 else 128 - code

    def _kill(self, why: str) -> None:
        if self._process.returncode is not None:
            return
        _log.error("process %d (pid %d) is killed: %s", self._number, self.pid, why)
        self._is_killed = True
        self.send(signal.SIGKILL)
        self._timer = self._loop.call_later(GONE, self._leave)

    def _leave(self) -> None:
        _log.error(
            "process %d (pid %d) does not end after KILL, its disk may be stuck: it is left behind, and ends when the "
            "system lets it",
            self._number,
            self.pid,
        )
        if not self._left.done():
            self._left.set_result(-signal.SIGKILL)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


SPARE = 5.0
"""Seconds that a process has beyond its ``stop_timeout`` before it is killed."""


_STABLE = 10.0
"""Seconds after which a process counts as stable, and its next restart is quick again."""


_NO_USE = frozenset({CONFIG, USAGE})
"""Exit codes after which starting again would end the same way."""


_HARMLESS = frozenset({INTERRUPTED, TERMINATED, RECYCLED})


class Fleet:
    """``count`` processes; its ``run`` is for the main thread.

    ``arguments`` makes the command line of one, from the number of the file descriptor on which we ask it questions
    and which tells it of our end. ``children`` asks them, ``metrics`` for their metrics, ``health`` how they are.

    A process has ``stop_timeout`` seconds to stop, or the longer time that it answers itself, and ``spare`` seconds
    more; then it is killed. One that is frozen by these ``limits`` is killed and replaced.
    """

    def __init__(
        self,
        arguments: Callable[[int], list[str]],
        count: int,
        *,
        ends_when_done: bool = False,
        backoff: Backoff | None = None,
        signals: StopSignals | None = None,
        health_file: Path | None = None,
        stop_timeout: float = 10.0,
        spare: float = SPARE,
        limits: SilenceLimits | None = None,
    ) -> None:
        self._arguments = arguments
        self._count = count
        self._ends_when_done = ends_when_done
        self._backoff = backoff or Backoff(initial_delay=0.5, max_delay=30.0)
        self._running: dict[int, Child] = {}
        self._stop_timeout, self._spare = stop_timeout, spare
        self._stop = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        """The loop that it runs on; None: it does not run yet."""
        self._signals = signals or StopSignals()
        self.version = object()
        """Another one after each HUP."""
        self.children = Children()
        self._heartbeat = Heartbeat(self.children, self._replace, self._used, limits)
        self.metrics = FleetMetrics(self.children)
        self.health = FleetHealth(self.children, count, health_file)

    async def run(self) -> int:
        """Keep them running until stopped, or until all are done; the worst of their exit codes."""
        self.loop = asyncio.get_running_loop()
        handlers: dict[signal.Signals, Callable[[], object]] = {
            **{number: partial(self._end, number) for number in (signal.SIGTERM, signal.SIGINT)},
            **{number: partial(self._forward, number) for number in (signal.SIGHUP, signal.SIGQUIT)},
        }
        looking = [
            asyncio.create_task(self.health.run(), name="health of the processes"),
            asyncio.create_task(self._heartbeat.run(), name="heartbeat of the processes"),
        ]
        try:
            with signals_on_loop(handlers):
                if self._signals.first is not None:  # while this process started
                    return OK
                codes = await asyncio.gather(*(self._keep(number) for number in range(1, self._count + 1)))
        finally:
            for task in looking:
                task.cancel()
        return max(codes)

    def _end(self, number: int) -> None:
        meaning = self._signals.hear(number, time.monotonic())
        if meaning is not Meaning.NOTHING:
            self._stop.set()
            self._forward(number)
            for which, child in self._running.items():
                self._limit_stop(which, child)

    def _limit_stop(self, number: int, child: Child) -> None:
        """Kill a child that takes longer to stop than it promises; after a second signal it has no such time."""
        promise = max(self._stop_timeout, self._heartbeat.stop_timeout(number))
        promise = 0.0 if self._signals.second is not None else promise
        child.kill_in(promise + self._spare, f"it has not stopped within its stop_timeout and {self._spare:g} s more")

    def _replace(self, number: int, silence: float) -> None:
        if (child := self._running.get(number)) is not None:
            child.kill_in(0.0, f"it has given no sign of life for {silence:.0f} s")

    def _used(self) -> dict[int, float]:
        return {number: processor_seconds(child.pid) for number, child in self._running.items()}

    def _forward(self, number: int) -> None:
        if number == signal.SIGHUP:
            self.version = object()
        for child in self._running.values():
            child.send(number)

    async def _keep(self, number: int) -> int:
        """Run one of them, and again when it dies; its last exit code."""
        failures = 0
        while True:
            started = time.monotonic()
            try:
                code = await self._run_once(number)
            except OSError as error:  # as EAGAIN or ENOMEM: no room for one more process at this moment
                problem = f"cannot be started: {error}"
            else:
                if self._stop.is_set() or code in _NO_USE or (code == OK and self._ends_when_done):
                    return self._last_code(code)
                if code == RECYCLED:
                    failures = 0
                    continue
                problem = f"ended with exit code {code}"
                failures = 0 if time.monotonic() - started > _STABLE else failures
            failures += 1
            delay = self._backoff.delay(failures)
            _log.warning("process %d %s; starts again in %.1f s", number, problem, delay)
            try:
                await asyncio.wait_for(self._stop.wait(), delay)
            except TimeoutError:
                continue
            return OK  # stopped while it did not run

    def _last_code(self, code: int) -> int:
        """The exit code of a process that is not started again."""
        if code in _NO_USE and not self._stop.is_set():
            self._end(signal.SIGTERM)
        # One that a first signal ends like this was still starting, and had taken nothing.
        return OK if code in _HARMLESS and self._signals.second is None else code

    async def _run_once(self, number: int) -> int:
        """Start one and wait for its end; its exit code. Raises OSError: the system cannot start a process."""
        link = self.children.open(number)
        try:
            # A group of its own: Ctrl-C reaches the parent alone, which hands it on once.
            with held_for_a_child():  # HUP would end a process that has only just begun
                process = await asyncio.create_subprocess_exec(
                    *self._arguments(link.child_end),
                    stdin=asyncio.subprocess.DEVNULL,
                    process_group=0,
                    pass_fds=(link.child_end,),
                )
            link.child_started()
            child = self._running[number] = Child(number, process)
            _log.info("process %d started", number, extra={"pid_of_process": process.pid})
            if self._stop.is_set():
                child.send(signal.SIGTERM)
                self._limit_stop(number, child)
            return await child.ended()
        finally:
            self._running.pop(number, None)
            await self.children.close(number)


def child_arguments(target: list[str], options: Mapping[str, object]) -> list[str]:
    """The command line of a child, from its options by their names: the same project, one process."""
    words = [*tasuki(), "run"]
    for name, value in options.items():
        for each in value if isinstance(value, tuple) else (value,):
            if each is True:
                words.append(name)
            elif each is not None and each is not False:
                words.append(f"{name}={each}")
    return [*words, *target]


def follow_parent(lifeline: int) -> ParentAnswers:
    """Answer the questions of this process's parent, and have this process drained when the parent is gone.

    Linux has PR_SET_PDEATHSIG for this, but sends it once for each thread of the parent, and a second TERM cancels.
    """
    # Only the parent has the other end, so this process sees the end of it, however it dies.
    answering = ParentAnswers(lifeline, lambda: os.kill(os.getpid(), signal.SIGTERM))
    answering.start()
    return answering


class WatchedFleet:
    """All processes together; see :class:`tasuki.desk.viewer.Watched`."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def report(self) -> Report:
        """How they are, by the last observation."""
        return self._fleet.health.report()

    async def snapshot(self) -> Snapshot:
        """Their metrics. Raises LifecycleError: they do not run."""
        if (loop := self._fleet.loop) is None or loop.is_closed():
            raise LifecycleError("the processes do not run yet, or no more", service="processes")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._fleet.metrics.snapshot(), loop))

    def version(self) -> object:
        """Another object after each HUP that the processes received."""
        return self._fleet.version
