"""A connection that ends, with a server that answers everything."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest

from tasuki.drivers.redis.connecting import link as link_module
from tasuki.drivers.redis.connecting.addresses import Login
from tasuki.drivers.redis.connecting.link import Link, connect
from tasuki.drivers.redis.errors import LinkLostError
from tasuki.drivers.redis.settings import Server

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


async def given(link: Link, *pieces: bytes) -> list[asyncio.Future[object]]:
    """Two calls, after a server said this."""
    transport = Mock(asyncio.Transport)
    transport.get_extra_info.return_value = None
    link.connection_made(transport)
    asked = [link.call("PING"), link.call("PING")]
    for piece in pieces:
        link.data_received(piece)
    assert transport.abort.call_count == link.is_lost
    return asked


@pytest.mark.parametrize("stream", [b"HTTP/1.1 400\r\n", b"*-5\r\n", b"%1\r\n*1\r\n+a\r\n+b\r\n", b"*1\r\n" * 100_000])
async def test_bytes_that_are_no_reply_end_all_calls_with_one_error(stream: bytes) -> None:
    link = Link(Server("host", 1), 30.0)
    first, second = await given(link, b"+PO", b"NG\r\n" + stream)
    assert await first == b"PONG"
    with pytest.raises(LinkLostError, match="does not speak its protocol"):
        await second


async def test_a_reply_that_has_no_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "LARGEST", 1000)
    link = Link(Server("host", 1), 30.0)
    whole = b"$900\r\n" + bytes(900) + b"\r\n"
    first, second = await given(link, whole, b"$536870912\r\n", *[bytes(100)] * 10)
    assert await first == bytes(900)
    with pytest.raises(LinkLostError, match="a reply of more than 1000 bytes"):
        await second
