"""A TCP proxy before a broker, which can refuse, cut, silence, slow and damage its connections; in its own thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

_CHUNK = 65536


class Proxy:
    """Listens on a free loopback port and passes bytes on to a port; ``close`` ends it."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.accepted = 0
        """How many connections it has passed on so far."""
        self.delay = 0.0
        """Seconds that each chunk waits on its way, in both directions."""
        self.damage: Callable[[bytes], bytes] | None = None
        """Changes the next bytes that the broker sends; once."""
        self._flowing: asyncio.Event
        self._refusing = False
        self._swallowing = False
        self._passing: int | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        self._ready.wait()

    def refuse(self) -> None:
        """Cut all connections, and refuse new ones, until ``serve``."""
        self._call(self._refuse)

    def serve(self) -> None:
        """Pass everything on again."""
        self._call(self._serve)

    def silence(self) -> None:
        """Keep all connections open and take new ones, but let no byte through, until ``serve``."""
        self._call(self._silence)

    def swallow(self) -> None:
        """Let requests through and throw the answers away, until ``serve``."""
        self._call(self._swallow)

    def hush(self) -> None:
        """Keep the connections that there are now, but let no byte through them any more; new ones are served."""
        self._call(self._hush)

    def cut(self) -> None:
        """Reset (RST) the connections that there are now; new ones are served."""
        self._call(self._cut)

    def cut_short(self, answers: int) -> None:
        """Reset all connections in place of the answer that comes after this many others; once, until ``serve``."""
        self._call(partial(self._cut_short, answers))

    @property
    def is_cutting_short(self) -> bool:
        """Whether that is still to come."""
        return self._passing is not None

    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._writers) // 2

    def close(self) -> None:
        """End the proxy and all its connections."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join()

    def _call(self, action: Callable[[], Awaitable[None]]) -> None:
        asyncio.run_coroutine_threadsafe(_awaited(action), self._loop).result(10)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._listen())

    async def _listen(self) -> None:
        self._stopped, self._flowing = asyncio.Event(), asyncio.Event()
        self._flowing.set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        self._loop.remove_reader(server.sockets[0].fileno())
        for _ in range(3):  # asyncio makes a connection of an accepted socket in steps; a close between them leaks it
            await asyncio.sleep(0)
        server.close()
        await self._cut()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)  # to be cut also before its task begins, and while the target is asked
        task = self._loop.create_task(self._connected(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine = {writer}
        try:
            if self._refusing:
                raise ConnectionRefusedError
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            mine.add(back)
            self.accepted += 1
            self._writers |= mine
            flowing = self._flowing
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, back, flowing))
                group.create_task(self._pass(there, writer, flowing, is_answer=True))
        except* OSError:
            _reset(writer)
        except* asyncio.CancelledError:  # the proxy ends
            for each in mine:
                _reset(each)  # a close would wait for the bytes that are still to be sent
        finally:
            self._writers -= mine
            for each in mine:
                each.close()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        flowing: asyncio.Event,
        *,
        is_answer: bool = False,
    ) -> None:
        while data := await reader.read(_CHUNK):
            if is_answer and self.damage is not None:
                damage, self.damage = self.damage, None
                data = damage(data)
            if self.delay:
                await asyncio.sleep(self.delay)
            await flowing.wait()
            if is_answer and self._swallowing:
                continue
            if is_answer and self._passing is not None:
                if not self._passing:
                    self._passing = None
                    await self._cut()
                    continue
                self._passing -= 1
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()

    async def _refuse(self) -> None:
        self._refusing = True
        await self._cut()

    async def _serve(self) -> None:
        self._refusing = False
        self._passing = None
        if self._swallowing:
            self._swallowing = False
            await self._cut()  # swallowed bytes will never come
        self._flowing.set()

    async def _swallow(self) -> None:
        self._swallowing = True

    async def _cut_short(self, answers: int) -> None:
        self._passing = answers

    async def _silence(self) -> None:
        self._flowing.clear()

    async def _hush(self) -> None:
        self._flowing.clear()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def _cut(self) -> None:
        for writer in list(self._writers):
            _reset(writer)


async def _awaited(action: Callable[[], Awaitable[None]]) -> None:
    await action()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST: bytes on their way are dropped."""
    connection: Any = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):  # it is closed already
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
