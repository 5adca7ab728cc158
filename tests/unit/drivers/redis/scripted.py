"""A server that speaks Redis' protocol and answers as a script says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import hiredis

from tasuki.drivers.redis.settings import Server

Answer = bytes | None
"""As it is written; None: nothing is said."""


class Scripted:
    """One server; ``answer`` gets the words of each command, and ``came`` keeps them."""

    def __init__(self) -> None:
        self.came: list[list[bytes]] = []
        self.answer: Callable[[list[bytes]], Answer] = lambda words: b"+OK\r\n"
        self.address = Server("", 0)
        self.writers: list[asyncio.StreamWriter] = []

    def heard(self, name: bytes) -> list[list[bytes]]:
        """The commands of this name."""
        return [words for words in self.came if words[0] == name]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        parser = hiredis.Reader()
        try:
            while data := await reader.read(2**16):
                parser.feed(data)
                while (words := parser.gets()) is not False:
                    self.came.append(words)
                    said = b"+PONG\r\n" if words[0] == b"PING" else self.answer(words)
                    writer.write(said or b"")
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def scripted(number: int = 1) -> AsyncIterator[list[Scripted]]:
    """This many servers."""
    servers = [Scripted() for _ in range(number)]
    listening = []
    for one in servers:
        listening.append(await asyncio.start_server(one.serve, "127.0.0.1", 0))
        one.address = Server(*listening[-1].sockets[0].getsockname()[:2])
    try:
        yield servers
    finally:
        for server in listening:
            server.close()
        for one in servers:
            for writer in one.writers:
                writer.close()


def array(*items: Any) -> bytes:
    """Texts, numbers and arrays of them, as a reply."""
    parts = [
        b":%d\r\n" % item if isinstance(item, int)
        else array(*item) if isinstance(item, list)
        else b"$%d\r\n%b\r\n" % (len(item.encode()), item.encode())
        for item in items
    ]  # fmt: skip
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))
