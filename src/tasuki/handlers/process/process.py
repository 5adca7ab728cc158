"""ChildProcess: how a child process is started and killed; Watch kills a child that uses too much processor time.

A child that waits uses none. Each step of a script ends with some frame, and so does each call; so a child which has
sent nothing for longer than the limit of one call, in processor time, is stuck in one step. One that sends, and yet
uses more than all its calls together may, is lying.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# With -I no variable and no folder of the user affects imports; -S skips start-up files of site packages.
_FLAGS = ("-I", "-S")

_BOOTSTRAP = (
    "import sys, json\n"
    "sys.path[:] = json.loads(sys.argv[4])\n"
    "from tasuki.handlers.process.server import main\n"
    "main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])\n"
)

_LOOKS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between checks of a killed process, which ends within a few milliseconds."""


class ChildProcess:
    """An interpreter of its own, with nothing of ours but one end of a socket pair.

    Args:
        site: what it runs: ``module:class``.
        is_closed: the code in it is not trusted: no environment, no output, and no folder of ours to start from.
    """

    def __init__(self, site: str, *, is_closed: bool) -> None:
        if not sys.executable:
            raise OSError("this interpreter does not know its own executable, so it cannot start another one")
        self.end, theirs = socket.socketpair()
        nothing = subprocess.DEVNULL if is_closed else None
        arguments = [str(theirs.fileno()), str(os.getpid()), site, json.dumps(_paths())]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own arguments
                [sys.executable, *_FLAGS, "-c", _BOOTSTRAP, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=nothing,
                stderr=nothing,
                env={} if is_closed else None,
                cwd="/" if is_closed else None,
                pass_fds=(theirs.fileno(),),
            )
        except BaseException:
            self.end.close()
            raise
        finally:
            theirs.close()
        self._has_clock = sys.platform == "linux"

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def processor_time(self) -> float:
        """Seconds of processor time that it has used; where the system does not say: seconds that have passed."""
        if not self._has_clock:
            return time.monotonic()
        try:
            return time.clock_gettime((~self._process.pid << 3) | 2)  # CLOCK_PROCESS_CPUTIME_ID of that process
        except OSError:  # it has ended
            return 0.0

    def kill(self) -> None:
        """End it at once. Idempotent."""
        if self._process.returncode is None:
            self._process.kill()

    def when_ended(self, then: Callable[[str], None]) -> None:
        """Kill it if it lives, and say how it ended when that is known (``killed by SIGSEGV``, ``exit status 3``)."""
        self._look(then, was_alive=self._process.poll() is None, looks=0)

    def _look(self, then: Callable[[str], None], *, was_alive: bool, looks: int) -> None:
        code = self._process.poll()
        if code is None and looks < len(_LOOKS):
            if looks == 3:  # it has had its time to end by itself, with a cause that says more
                self.kill()
            loop = asyncio.get_running_loop()
            loop.call_later(_LOOKS[looks], lambda: self._look(then, was_alive=was_alive, looks=looks + 1))
        else:
            then(_how(code))

    def bury(self) -> None:
        """End it and wait for that, outside of any event loop: a few milliseconds."""
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)

    async def ended(self) -> None:
        """Kill it and wait until it is gone."""
        self.kill()
        for pause in _LOOKS:
            if self._process.poll() is not None:
                return
            await asyncio.sleep(pause)


def _how(code: int | None) -> str:
    if code is None:
        return "cannot be ended"
    if code >= 0:
        return f"ended with exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}"


def _paths() -> list[str]:
    """Where the child finds modules: as here, from wherever it starts."""
    return [os.path.abspath(path) for path in sys.path]


_GRACE = 0.25
"""Seconds beyond the limit: the script's own limit comes first where it can, and says the line."""

_BOOT = 30.0
"""Seconds of processor time for imports, beside the limit of the script's top level."""


class Watch:
    """Looks at a process now and then while calls are under way; ``proven`` is set whenever a frame arrives."""

    def __init__(self, process: ChildProcess, seconds: float | None, on_late: Callable[[], None]) -> None:
        self.proven = False
        self._process = process
        self._limit = None if seconds is None else seconds + _GRACE
        self._every = 1.0 if seconds is None else min(max((seconds + _GRACE) / 8, 0.05), 1.0)
        self._on_late = on_late
        self._timer: asyncio.TimerHandle | None = None
        self._calls: dict[
            int, tuple[float, int]
        ] = {}  # by number: time used when it began, calls begun before it ended
        self._begun = 0
        self._since = 0.0

    def begin(self, number: int) -> None:
        """A call begins."""
        if self._limit is None:
            return
        used = self._process.processor_time()
        self._calls[number] = (used, self._begun - len(self._calls))
        self._begun += 1
        if self._timer is None:
            self._since = used
            self._look_later()

    def end(self, number: int) -> None:
        """A call has ended."""
        self._calls.pop(number, None)

    @contextmanager
    def boot(self) -> Iterator[None]:
        """The child boots within the block."""
        if self._limit is None:
            yield
            return
        self._limit += _BOOT
        self.begin(0)
        try:
            yield
        finally:
            self._limit -= _BOOT
            self.end(0)

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._every, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._calls or self._limit is None:
            return
        used = self._process.processor_time()
        if self.proven:
            self.proven, self._since = False, used
        began, before = next(iter(self._calls.values()))
        if used - self._since > self._limit or used - began > self._limit * (self._begun - before):
            self._on_late()
        else:
            self._look_later()

    def stop(self) -> None:
        """The process is gone."""
        self._calls.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
