"""Several worker processes: started by exec, started again when they die, stopped together."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tasuki.backoff import Backoff
from tasuki.cli.exits import CONFIG, INTERRUPTED, OK, RECYCLED, TERMINATED, USAGE
from tasuki.cli.worker.child import Child
from tasuki.cli.worker.fleet_health import FleetHealth
from tasuki.cli.worker.fleet_metrics import FleetMetrics
from tasuki.cli.worker.starting import held_for_a_child
from tasuki.cli.worker.watching import tasuki
from tasuki.supervisor.children.answering import Answering
from tasuki.supervisor.children.asking import Children
from tasuki.supervisor.children.heartbeat import Heartbeat, Limits
from tasuki.system.forks import signals_on_loop
from tasuki.system.process import processor_seconds
from tasuki.system.stopping import Meaning, StopSignals

SPARE = 5.0
"""Seconds that a process has beyond its ``stop_timeout`` before it is killed."""
_STABLE = 10.0
"""Seconds after which a process counts as stable, and its next restart is quick again."""
_NO_USE = frozenset({CONFIG, USAGE})
"""Exit codes after which starting again would end the same way."""
_HARMLESS = frozenset({INTERRUPTED, TERMINATED, RECYCLED})

_log = logging.getLogger("tasuki.processes")


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
        limits: Limits | None = None,
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


def follow_parent(lifeline: int) -> Answering:
    """Answer the questions of this process's parent, and have this process drained when the parent is gone.

    Linux has PR_SET_PDEATHSIG for this, but sends it once for each thread of the parent, and a second TERM cancels.
    """
    # Only the parent has the other end, so this process sees the end of it, however it dies.
    answering = Answering(lifeline, lambda: os.kill(os.getpid(), signal.SIGTERM))
    answering.start()
    return answering
