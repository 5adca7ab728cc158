"""A command in its own terminal, so that it prints what a person sees."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.support.pages.output import pattern_of, plain

TIMEOUT = 60.0
"""Seconds after which a command is taken to hang."""
_ROWS, _COLUMNS = 40, 100


class Terminal:
    """Runs one line of a shell; ``seen`` is what it printed and no text of the page has shown yet."""

    def __init__(self, line: str, folder: Path, environ: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            ["bash", "-c", line],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._output = b""
        self._shown = 0
        self._ended = False

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    @property
    def seen(self) -> str:
        return plain(self._output.decode(errors="replace"))[self._shown :]

    def wait_for(self, shown: str) -> None:
        """Wait until it has printed what the page shows. Raises AssertionError when it ends, or after the timeout."""
        pattern = pattern_of(shown)
        while not (found := pattern.match(self.seen)):
            assert self._read(), f"the page shows:\n{shown}\nand this was printed:\n{self.seen}"
        self._shown += found.end()

    def end(self) -> int:
        """Read until it ends; its exit code."""
        while self._read():
            pass
        assert self._ended, f"it does not end; so far it has printed:\n{self.seen}"
        return self._process.wait(TIMEOUT)

    def interrupt(self) -> None:
        """As Ctrl-C."""
        os.killpg(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        """End it and all that it started."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def _read(self) -> bool:
        """Wait for more output; False at its end, and after the timeout."""
        ends_at = time.monotonic() + TIMEOUT
        if self._ended or not select.select([self._master], [], [], max(ends_at - time.monotonic(), 0))[0]:
            return False
        try:
            more = os.read(self._master, 65536)
        except OSError:  # Linux says so when the last writer has closed
            more = b""
        self._output += more
        self._ended = not more
        return not self._ended
