"""A connection that ends, with a server that answers everything."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.drivers.redis.addresses import Login
from tasuki.drivers.redis.connecting.link import Link, connect
from tasuki.drivers.redis.errors import LinkLostError
from tasuki.drivers.redis.servers import Server

pytestmark = pytest.mark.anyio


class ShortLived(Link):
    """One that is cut right after the first answer, before anybody has read it."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.close(LinkLostError("cut"))


async def test_one_that_is_lost_before_anybody_could_be_told_is_not_handed_out() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+PONG\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        address = Server(*server.sockets[0].getsockname()[:2])
        with pytest.raises(LinkLostError, match="cut"):
            await connect(ShortLived(address, 30.0), Login(), 30.0)
