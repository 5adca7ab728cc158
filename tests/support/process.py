"""The command line as a process: started on a project, watched line by line, and always killed in the end."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.forked import run_forked

TASUKI = [sys.executable, "-m", "tasuki"]
TIMEOUT = 30.0
"""Seconds after which a test gives up to wait; nothing takes that long unless it is broken."""


def run(
    *arguments: str, folder: Path, stdin: str | bytes = "", timeout: float = TIMEOUT
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end in a folder; stdout and stderr are text."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = run_forked(list(arguments), folder=folder, stdin=data, timeout=timeout, environ=environ())
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def run_json(*arguments: str, folder: Path) -> Any:
    """Run a command with ``--json``; its document. Fails unless it exits with 0."""
    done = run(*arguments, "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def environ() -> dict[str, str]:
    """The environment without what would make output differ between machines."""
    return {**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


def _unmeasured(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name != "COVERAGE_PROCESS_CONFIG"}


class Process:
    """A running command; ``lines`` holds what it wrote to stderr so far.

    It does not measure coverage: that doubles what each of thousands computes. Some cannot: under a tracer CPython 3.11
    stands still while it interrupts a thread that is in C, as in ``time.sleep``.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        command: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Start ``tasuki`` with arguments, or a whole ``command``; ``variables`` are added to the environment."""
        self.process = subprocess.Popen(
            command or [*TASUKI, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=_unmeasured({**environ(), **(variables or {})}),
            process_group=0,
        )
        self.lines: list[str] = []
        self._new: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._new.put(line)
        self._new.put(None)

    def wait_for(self, text: str, *, timeout: float = TIMEOUT) -> str:
        """Wait for a new line on stderr that holds a text; fails at the end of output, or after the timeout."""
        ends_at = time.monotonic() + timeout
        while True:
            try:
                line = self._new.get(timeout=max(ends_at - time.monotonic(), 0.001))
            except queue.Empty:
                line = None
            assert line is not None, f"no {text!r} in:\n{self.output}"
            self.lines.append(line)
            if text in line:
                return line

    @property
    def output(self) -> str:
        """All lines that were waited through."""
        return "".join(self.lines)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float = TIMEOUT) -> int:
        """Wait for its end; the exit code, as a shell shows it. The rest of stderr is in ``output`` then."""
        code = self.process.wait(timeout)
        self._reader.join(timeout)
        while not self._new.empty():
            line = self._new.get()
            self.lines += [line] if line is not None else []
        return code if code >= 0 else 128 - code

    def kill(self) -> None:
        """End it, whatever state it is in; what it started is drained then."""
        self.process.kill()
        self.process.wait()
        self._reader.join(5)
        if self.process.stderr is not None:
            self.process.stderr.close()


@contextmanager
def start(*arguments: str, folder: Path) -> Iterator[Process]:
    """Start a command in a folder; it is killed at the end of the block."""
    process = Process(arguments, folder)
    try:
        yield process
    finally:
        process.kill()


def wait_until(condition: Callable[[], Any], what: str, *, timeout: float = TIMEOUT) -> Any:
    """Check repeatedly until a condition of another process holds; its first true value."""
    ends_at = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < ends_at, f"waited in vain for {what}"
        time.sleep(0.02)
    return value
