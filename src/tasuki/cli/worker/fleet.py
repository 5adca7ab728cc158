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
from tasuki.cli.worker.fleet_health import FleetHealth
from tasuki.cli.worker.fleet_metrics import FleetMetrics
from tasuki.cli.worker.starting import held_for_a_child
from tasuki.cli.worker.watching import tasuki
from tasuki.supervisor.children.answering import Answering
from tasuki.supervisor.children.asking import Children
from tasuki.system.forks import signals_on_loop
from tasuki.system.stopping import Meaning, StopSignals

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
    ) -> None:
        self._arguments = arguments
        self._count = count
        self._ends_when_done = ends_when_done
        self._backoff = backoff or Backoff(initial_delay=0.5, max_delay=30.0)
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._stop = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        """The loop that it runs on; None: it does not run yet."""
        self._signals = signals or StopSignals()
        self.version = object()
        """Another one after each HUP."""
        self.children = Children()
        self.metrics = FleetMetrics(self.children)
        self.health = FleetHealth(self.children, count, health_file)

    async def run(self) -> int:
        """Keep them running until stopped, or until all are done; the worst of their exit codes."""
        self.loop = asyncio.get_running_loop()
        handlers: dict[signal.Signals, Callable[[], object]] = {
            **{number: partial(self._end, number) for number in (signal.SIGTERM, signal.SIGINT)},
            **{number: partial(self._forward, number) for number in (signal.SIGHUP, signal.SIGQUIT)},
        }
        looking = asyncio.create_task(self.health.run(), name="health of the processes")
        try:
            with signals_on_loop(handlers):
                if self._signals.first is not None:  # while this process started
                    return OK
                codes = await asyncio.gather(*(self._keep(number) for number in range(1, self._count + 1)))
        finally:
            looking.cancel()
        return max(codes)

    def _end(self, number: int) -> None:
        if self._signals.hear(number, time.monotonic()) is not Meaning.NOTHING:
            self._stop.set()
            self._forward(number)

    def _forward(self, number: int) -> None:
        if number == signal.SIGHUP:
            self.version = object()
        for process in self._running.values():
            if process.returncode is None:
                process.send_signal(number)

    async def _keep(self, number: int) -> int:
        """Run one of them, and again when it dies; its last exit code."""
        failures = 0
        while True:
            started = time.monotonic()
            code = await self._run_once(number)
            if self._stop.is_set() or code in _NO_USE or (code == OK and self._ends_when_done):
                if code in _NO_USE and not self._stop.is_set():
                    self._end(signal.SIGTERM)
                # One that a first signal ends like this was still starting, and had taken nothing.
                return OK if code in _HARMLESS and self._signals.second is None else code
            if code == RECYCLED:
                failures = 0
                continue
            failures = 1 if time.monotonic() - started > _STABLE else failures + 1
            delay = self._backoff.delay(failures)
            _log.warning("process %d ended with exit code %d; starts again in %.1f s", number, code, delay)
            try:
                await asyncio.wait_for(self._stop.wait(), delay)
            except TimeoutError:
                continue
            return OK  # stopped while it did not run

    async def _run_once(self, number: int) -> int:
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
            self._running[number] = process
            _log.info("process %d started", number, extra={"pid_of_process": process.pid})
            if self._stop.is_set():
                process.send_signal(signal.SIGTERM)
            code = await process.wait()
        finally:
            await self.children.close(number)
        return code if code >= 0 else 128 - code


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
