"""Wire: stdin and stdout of the process, for the protocol alone.

Both are taken before the project is loaded: what its modules print goes to stderr, and what they read is empty.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import stat
import sys
from dataclasses import dataclass

MOST_LINE = 8 * 1024 * 1024
"""Bytes of one request: a longer one ends the connection, as there is no telling which request it is."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Descriptors of the client's ends."""

    read: int
    write: int


def take() -> Wire:
    """Take both for the protocol. Raises OSError: one of them is closed."""
    sys.stdout.flush()
    wire = Wire(*(fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3) for number in (0, 1)))
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return wire


class WireRequests:
    """The lines of the client; they end when it does. ``problem``: why they ended otherwise."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._reader = asyncio.StreamReader(limit=MOST_LINE)
        self._transport: asyncio.BaseTransport | None = None
        self.problem = ""

    async def open(self) -> None:
        """Begin to read, on the running loop."""
        loop = asyncio.get_running_loop()
        file = os.fdopen(os.dup(self._number), "rb", 0)  # the transport closes it by itself at its end
        mode = os.fstat(self._number).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(self._number):
            self._transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self._reader), file)
        else:  # a file, or the null device, for which nothing can wait: it has an end, and does not block
            with file:
                self._reader.feed_data(file.read(MOST_LINE))
            self.end()

    def end(self) -> None:
        """There is no client any more."""
        if self._transport is not None:
            self._transport.close()  # else more data could come after the end
        self._reader.feed_eof()

    def close(self) -> None:
        """Read no more, and leave the descriptor, which others may share, as it was."""
        if self._transport is not None:
            self._transport.close()
            os.set_blocking(self._number, True)

    def __aiter__(self) -> WireRequests:
        return self

    async def __anext__(self) -> str:
        try:
            line = await self._reader.readline()
        except ValueError:
            self.problem = f"the client has sent a line of more than {MOST_LINE} bytes; the connection is closed"
            raise StopAsyncIteration from None
        if not line:
            raise StopAsyncIteration
        return line.decode("utf-8", "replace")


class WireReplies:
    """Lines to the client. One that has gone ends its requests."""

    def __init__(self, number: int, requests: WireRequests) -> None:
        self._number, self._requests = number, requests

    async def write(self, text: str) -> None:
        """Write a line; a client that reads slowly is waited for, and blocks nothing else."""
        try:
            await asyncio.to_thread(self._write, text.encode("utf-8", "backslashreplace"))
        except (BrokenPipeError, ConnectionResetError):
            self._requests.end()

    async def flush(self) -> None:
        """Nothing is kept here."""

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._number, view) :]
            except BlockingIOError:  # one socket or terminal for both ends, which reading has made so
                poll = select.poll()
                poll.register(self._number, select.POLLOUT)
                poll.poll()
