"""A connection is made: the handshake with a scripted server, the nodes in turn, and the first one with room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pamqp import commands, frame

from tasuki.drivers.amqp.faults import ClosedError
from tasuki.drivers.amqp.limits import LARGEST_BODY, LARGEST_FRAME
from tasuki.drivers.amqp.protocol import connecting, frames
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.protocol.connecting import connect, first_with_room
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.settings import Endpoint

pytestmark = pytest.mark.anyio
START = commands.Connection.Start(mechanisms="PLAIN AMQPLAIN")


class Server:
    """Says the next item of its script for each method that the client sends, and notes what came."""

    def __init__(self, *script: Any) -> None:
        self._script = list(script)
        self.came: list[Any] = []
        self.is_over = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            assert await reader.readexactly(8) == b"AMQP\x00\x00\x09\x01"
            self._say(writer)
            while True:
                head = await reader.readexactly(7)
                body = await reader.readexactly(int.from_bytes(head[3:], "big") + 1)
                self.came.append(frame.unmarshal(head + body)[2])
                if not isinstance(self.came[-1], commands.Connection.TuneOk):
                    self._say(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.is_over.set()

    def _say(self, writer: asyncio.StreamWriter) -> None:
        said = self._script.pop(0) if self._script else b""
        writer.write(said if isinstance(said, bytes) else frame.marshal(said, 0))


@asynccontextmanager
async def serving(*script: Any) -> AsyncIterator[Server]:
    found = Server(*script)
    async with await asyncio.start_server(found.serve, "127.0.0.1", 0) as server:
        found.port = server.sockets[0].getsockname()[1]
        yield found


def settings(port: int, **fields: Any) -> Endpoint:
    given: dict[str, Any] = {
        "hosts": [("127.0.0.1", port)], "vhost": "/", "user": "guest", "password": "guest", "mechanism": "PLAIN",
        "tls": None, "name": "test", "heartbeat": 0, "connection_timeout": 30, "request_timeout": 30,
        "reconnect_delay": 1, "reconnect_max_delay": 1, "frame_size": 0, "channel_max": 0,
    }  # fmt: skip
    return Endpoint(**given | fields)


@pytest.mark.parametrize(
    ("theirs", "ours", "agreed"),
    [(0, 0, 2**17), (8192, 0, 8192), (2**17, 8192, 8192), (0, 8192, 8192), (2**32 - 1, 0, LARGEST_FRAME)],
)
async def test_both_keep_to_the_smaller_frame_and_to_ours_at_most(theirs: int, ours: int, agreed: int) -> None:
    tune = commands.Connection.Tune(channel_max=10, frame_max=theirs, heartbeat=60)
    async with serving(START, tune, commands.Connection.OpenOk(), commands.Connection.CloseOk()) as server:
        connection = await connect(settings(server.port, frame_size=ours), "127.0.0.1", server.port)
        assert (connection.frame_max, connection.channel_max) == (agreed, 10)
        await connection.close()
        await server.is_over.wait()
    kinds = commands.Connection
    assert [type(method) for method in server.came] == [kinds.StartOk, kinds.TuneOk, kinds.Open, kinds.Close]
    assert (server.came[1].frame_max, server.came[1].heartbeat) == (agreed, 0)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ([commands.Connection.Start(mechanisms="EXTERNAL")], "offers no PLAIN, only EXTERNAL"),
        ([commands.Connection.OpenOk()], "Start expected, OpenOk came"),
        ([START, commands.Connection.Tune(0, 100, 0)], "frames of 100 bytes"),
        ([START, commands.Connection.Close(403, "ACCESS_REFUSED", 0, 0)], "ACCESS_REFUSED"),
        ([b"AMQP\x00\x00\x09\x01"], "unreadable data"),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "unreadable data"),
        ([b"\x01\x00\x00\xff\xff\xff\xff"], "unreadable data"),
        ([frames.frame(frames.METHOD, 0, b"\x00\x0a\x00\xff")], "unreadable data"),
        ([frames.frame(frames.METHOD, 0, b"\x00\x0a")], "unreadable data"),
    ],
)
async def test_another_answer_ends_in_one_error_and_the_connection_with_it(script: list[Any], problem: str) -> None:
    async with serving(*script) as server:
        with pytest.raises(ClosedError, match=problem):
            await connect(settings(server.port), "127.0.0.1", server.port)
        await server.is_over.wait()


def _header(size: int) -> bytes:
    return frames.frame(frames.HEADER, 1, b"\x00\x3c\x00\x00" + size.to_bytes(8, "big") + b"\x00\x00")


DELIVER = frame.marshal(commands.Basic.Deliver("tag", 1, False, "", "q"), 1)


@pytest.mark.parametrize(
    ("stream", "problem"),
    [
        (DELIVER + _header(LARGEST_BODY + 1), f"{LARGEST_BODY} are the most"),
        (_header(1), "a content header where none may come"),
        (DELIVER + _header(2) + _header(2), "a content header where none may come"),
        (DELIVER + frames.frame(frames.BODY, 1, b"a"), "a body where none may come"),
        (DELIVER + _header(1) + frames.frame(frames.BODY, 1, b"ab"), "longer than its header says"),
        (DELIVER + _header(0) + frames.frame(frames.BODY, 1, b""), "a body where none may come"),
        (frame.marshal(commands.Connection.OpenOk(), 0) * 100, "QueueFull"),
    ],
)
async def test_a_stream_that_cannot_be_ends_the_connection(stream: bytes, problem: str) -> None:
    """An empty body frame after a whole message handed the message out once more."""
    deliveries: list[Any] = []
    connection = Connection(settings(0))
    channel = connection._channels[1] = Channel(connection, 1)
    channel.on_delivery = lambda *delivery: deliveries.append(delivery)
    connection.data_received(stream)
    assert problem in connection.lost.result().text
    assert len(deliveries) <= 1


class Nodes:
    """Nodes that answer, refuse or are silent; ``asked`` notes which were tried, in order."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.asked: list[str] = []

    async def connect(self, _: Endpoint, host: str, _port: int) -> Any:
        self.asked.append(host)
        if host in self.silent:
            await asyncio.Event().wait()
        return host

    async def host_of(self, found: connecting.Hosts) -> Any:
        return await found.connect()


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    nodes = Nodes()
    monkeypatch.setattr(connecting, "connect", nodes.connect)
    monkeypatch.setattr(connecting, "STAGGER", 0.01)
    return nodes


def three() -> connecting.Hosts:
    settings: Any = type("Endpoint", (), {"hosts": [("a", 1), ("b", 1), ("c", 1)]})()
    return connecting.Hosts(settings)


async def test_each_attempt_begins_with_the_next_node(nodes: Nodes) -> None:
    found = three()
    assert [await nodes.host_of(found) for _ in range(4)] == ["a", "b", "c", "a"]
    assert nodes.asked == ["a", "b", "c", "a"]


async def test_a_silent_node_is_tried_last_until_it_answers(nodes: Nodes) -> None:
    found = three()
    nodes.silent = {"a"}
    assert [await nodes.host_of(found) for _ in range(4)] == ["b", "c", "b", "c"]
    assert nodes.asked == ["a", "b", "c", "b", "c"]
    nodes.silent = {"b", "c"}
    assert await nodes.host_of(found) == "a"
    assert nodes.asked[5:] == ["b", "c", "a"]
    nodes.silent = set()
    assert [await nodes.host_of(found) for _ in range(2)] == ["a", "a"]


async def test_the_reason_of_the_last_node_where_none_answers(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_: Endpoint, host: str, _port: int) -> Any:
        raise ClosedError(0, f"{host} refused")

    monkeypatch.setattr(connecting, "connect", refuse)
    with pytest.raises(ClosedError, match="c refused"):
        await three().connect()


def test_the_first_connection_with_room_is_taken_and_one_more_when_there_is_none() -> None:
    assert first_with_room([0], 1, 2) == 0
    assert first_with_room([2, 1], 1, 2) == 1
    assert first_with_room([1, 2], 1, 2) == 0
    assert first_with_room([1, 0], 2, 2) == 1
    assert first_with_room([2, 2], 1, 2) == 2
    assert first_with_room([0], 2, 1) == 0, "the broker then says what is missing"
