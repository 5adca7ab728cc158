"""Channel: frames over a socket, in an event loop; the same for both sides."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable

from tasuki.handlers.process.protocol import MAX_FRAME, ProtocolError, Reader, frame

_READ = 256 * 1024
"""Most bytes read in one turn of the loop, so that a process that sends without end does not block it."""


class Channel:
    """Sends at once what the socket takes, and the rest when it can; hands over each frame that arrives.

    Args:
        end: this side's end of a socket pair; the channel closes it.
        on_frame: called with kind, number and payload.
        on_end: called once, with what went wrong: empty when the other side has closed its end.
        limit: the longest payload that is taken.
    """

    def __init__(
        self,
        end: socket.socket,
        on_frame: Callable[[int, int, bytes], None],
        on_end: Callable[[str], None],
        limit: int = MAX_FRAME,
    ) -> None:
        end.setblocking(False)
        self._end = end
        self._on_frame = on_frame
        self._on_end = on_end
        self._reader = Reader(limit)
        self._unsent: deque[memoryview] = deque()
        self.unsent = 0
        """Bytes that the other side has not taken yet."""
        self._is_open = True
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(end, self._read)

    def send(self, kind: int, number: int, payload: bytes = b"") -> None:
        """Send a frame; nothing happens when the channel is closed."""
        if not self._is_open:
            return
        data = memoryview(frame(kind, number, payload))
        if not self._unsent:
            data = data[self._try(data) :]
        if data and self._is_open:
            if not self._unsent:
                self._loop.add_writer(self._end, self._write)
            self._unsent.append(data)
            self.unsent += len(data)

    def _try(self, data: memoryview) -> int:
        try:
            return self._end.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            return len(data)  # the other side is gone; its end says so to the reader

    def _write(self) -> None:
        while self._unsent:
            data = self._unsent[0]
            sent = self._try(data)
            self.unsent -= sent
            if sent < len(data):
                self._unsent[0] = data[sent:]
                return
            self._unsent.popleft()
        self._loop.remove_writer(self._end)

    def _read(self) -> None:
        try:
            data = self._end.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._fail("")
            return
        try:
            for kind, number, payload in self._reader.feed(data):
                self._on_frame(kind, number, payload)
                if not self._is_open:
                    return
        except ProtocolError as error:
            self._fail(str(error))

    def _fail(self, problem: str) -> None:
        if self._is_open:
            self.close()
            self._on_end(problem)

    def close(self) -> None:
        """Close this end. Idempotent."""
        if not self._is_open:
            return
        self._is_open = False
        if not self._loop.is_closed():
            self._loop.remove_reader(self._end)
            self._loop.remove_writer(self._end)
        self._unsent.clear()
        self._end.close()
