"""Sink: writes log lines to a stream from its own thread, so that a worker never waits."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from typing import TextIO

_GATHERED = 0.005
"""Seconds for which lines are gathered: to wake the thread for each would cost the worker more than to write it."""


class Sink:
    """Holds up to ``limit`` lines until the stream takes them; drops further lines, and lines that cannot be written.

    A terminal that is paused, a full pipe or a broken one costs lines, never time. ``dropped`` counts them.
    """

    def __init__(self, stream: TextIO, limit: int = 10_000) -> None:
        self._stream = stream
        self._limit = limit
        self._lines: deque[str] = deque()
        self._changed = threading.Condition()
        self._writer: threading.Thread | None = None
        self._is_writing = False
        self._is_closing = False
        self.dropped = 0

    def write(self, line: str) -> None:
        """Take a line, with its line end, or drop it; returns at once."""
        if sys.is_finalizing():  # no thread starts any more, and waiting for one would never end
            self.dropped += self._put([line])
            return
        with self._changed:
            if len(self._lines) >= self._limit:
                self.dropped += 1
                return
            self._lines.append(line)
            if self._writer is None or not self._writer.is_alive():  # also in the child of a fork
                self._is_closing = False
                self._writer = threading.Thread(target=self._work, name="tasuki-log", daemon=True)
                self._writer.start()
            if len(self._lines) == 1:  # else the writer is awake, or comes back for these
                self._changed.notify_all()

    def flush(self, timeout: float = 1.0) -> bool:
        """Wait until all is written, at most ``timeout`` seconds; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._lines or self._is_writing), timeout)

    def close(self, timeout: float = 1.0) -> None:
        """Write all records and end the thread, within ``timeout`` seconds; a later ``write`` starts a new thread."""
        with self._changed:
            writer, self._is_closing = self._writer, True
            self._changed.notify_all()
        if writer is not None:
            writer.join(timeout)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._is_closing)
                if not self._lines:
                    self._writer = None
                    return
                is_closing = self._is_closing
                self._is_writing = True
            if not is_closing:
                time.sleep(_GATHERED)
            with self._changed:
                lines = list(self._lines)
                self._lines.clear()
            lost = self._put(lines)
            with self._changed:
                self._is_writing = False
                self.dropped += lost
                self._changed.notify_all()

    def _put(self, lines: list[str]) -> int:
        """Write, outside of the lock; returns how many lines are lost."""
        try:
            self._stream.write("".join(lines))
            self._stream.flush()
        except (OSError, ValueError):  # a broken pipe, a full disk, a closed stream, text it cannot encode
            return len(lines)
        return 0
