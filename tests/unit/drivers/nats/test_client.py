"""The client: its parser takes bytes as they come; and the private names of nats-py that it relies on."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client as NATSClient
from nats.aio.transport import TcpTransport
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from tasuki.drivers.nats.driver import NATSDriver
from tasuki.drivers.nats.protocol.client import LARGEST, LONGEST_LINE, Client, Reader
from tasuki.drivers.nats.protocol.exchange import frame, frames
from tasuki.drivers.nats.settings import NATSSettings
from tasuki.errors import DriverError
from tests.support.settings import parsed


@pytest.mark.parametrize("field", ["credentials_file", "nkey_seed_file"])
def test_keys_need_their_own_package(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    monkeypatch.setitem(sys.modules, "nkeys", None)
    with pytest.raises(ImportError):
        NATSDriver("n", parsed(NATSSettings, **{field: "user.creds"}))


def test_a_file_of_tls_that_is_not_there() -> None:
    with pytest.raises(DriverError, match="tls"):
        NATSDriver("n", parsed(NATSSettings, tls={"ca": "/nowhere/ca.pem"}))


HEAD = b"NATS/1.0 408 Request Timeout\r\n\r\n"


class FakeClient:
    def __init__(self) -> None:
        self.seen: list[object] = []
        self.heard = 0

    def hear(self) -> None:
        self.heard += 1

    def route(self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self.seen.append((subject, reply, data, headers))

    async def _process_ping(self) -> None:
        self.seen.append("ping")

    async def _process_pong(self) -> None:
        self.seen.append("pong")

    async def _process_err(self, text: str) -> None:
        self.seen.append(text)

    async def _process_info(self, info: object) -> None:
        self.seen.append(info)


def read(*chunks: bytes) -> list[object]:
    client = FakeClient()
    reader = Reader(client, client.route, client.hear)

    async def feed() -> None:
        for chunk in chunks:
            await reader.parse(chunk)

    asyncio.run(feed())
    return client.seen


def msg(subject: str, reply: str, data: bytes) -> bytes:
    middle = f" {reply}" if reply else ""
    return f"MSG {subject} 1{middle} {len(data)}\r\n".encode() + data + b"\r\n"


def hmsg(subject: str, reply: str, data: bytes) -> bytes:
    middle = f" {reply}" if reply else ""
    return f"HMSG {subject} 1{middle} {len(HEAD)} {len(HEAD) + len(data)}\r\n".encode() + HEAD + data + b"\r\n"


BODIES = st.binary() | st.sampled_from([b"\r\n", b"MSG a 1 3\r\nabc\r\n", b"PING\r\n", b""])
ITEMS = st.lists(st.tuples(st.sampled_from(["msg", "hmsg", "ping"]), st.sampled_from(["", "r.1"]), BODIES), max_size=8)


@given(ITEMS, st.lists(st.integers(0, 400)))
def test_messages_come_whole_however_the_bytes_are_cut(items: list[tuple[str, str, bytes]], cuts: list[int]) -> None:
    data = b""
    wanted: list[object] = []
    for kind, reply, body in items:
        if kind == "ping":
            data += b"PING\r\n"
            wanted.append("ping")
        else:
            data += (msg if kind == "msg" else hmsg)("s.x", reply, body)
            wanted.append((b"s.x", reply.encode(), body, HEAD if kind == "hmsg" else None))
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[start:end] for start, end in pairwise(places)]
    assert read(*chunks) == wanted


def test_data_that_is_no_message_goes_to_the_client() -> None:
    data = b"INFO {\"max_payload\": 7}\r\nPONG\r\n+OK\r\n-ERR 'Stale Connection'\r\n"
    assert read(data) == [{"max_payload": 7}, "pong", "'stale connection'"]


def test_a_large_message_in_many_chunks() -> None:
    body = bytes(3_000_000)
    data = msg("s", "r", body)
    assert read(*(data[start : start + 32768] for start in range(0, len(data), 32768))) == [(b"s", b"r", body, None)]


@pytest.mark.parametrize(
    "data",
    [
        b"MSG s 1 x\r\n",
        b"MSG s\r\n",
        b"MSG s 1 -5\r\nab\r\n",
        b"HMSG s 1 9 3\r\nabc\r\n",
        b"HMSG s 1 x 3\r\nabc\r\n",
        b"MSG s 1 %d\r\n" % (LARGEST + 1),
        b"x" * (LONGEST_LINE + 1),
        b"NONSENSE\r\n",
        b"MSG\ts 1 99999999999\r\n",
        b"INFO {\r\n",
        b"INFO \xff\r\n",
        b"-ERR \r\n",
        b"PINGPONG\r\n",
    ],
)
def test_nonsense_ends_the_connection_and_takes_no_memory(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(data)


def test_requests_as_they_are_written() -> None:
    assert frame("s", b"abc") == b"PUB s  3\r\nabc\r\n"
    assert frame("s", b"", "r") == b"PUB s r 0\r\n\r\n"
    written = list(frames([("a", b"1"), ("b", b"22")], [b"", HEAD], b"_IN.7."))
    assert written == [
        b"PUB a _IN.7.0 1\r\n1\r\n",
        b"HPUB b _IN.7.1 %d %d\r\n%b22\r\n" % (len(HEAD), len(HEAD) + 2, HEAD),
    ]


pytestmark = pytest.mark.anyio


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


class Transport:
    """Gives bytes to read, and then ends."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = list(chunks)

    def at_eof(self) -> bool:
        return not self._chunks

    async def read(self, size: int) -> bytes:
        return self._chunks.pop(0)


async def test_ps_is_the_parser_that_gets_all_that_arrives() -> None:
    heard: list[bytes] = []
    client = Client(lambda subject, *_: heard.append(subject), lambda: None, must_encrypt=False)
    assert type(client._ps) is Reader
    assert type(NATSClient()._ps) is Parser
    client._transport = Transport(b"MSG a 1 2\r\nhi\r\n")  # type: ignore[assignment]
    client._status = NATSClient.CONNECTED
    reading = asyncio.ensure_future(client._read_loop())
    await asyncio.wait([reading], timeout=30)
    assert heard == [b"a"]


class ResetTransport:
    """The transport of a connection that was reset."""

    def at_eof(self) -> bool:
        return False

    async def read(self, size: int) -> bytes:
        raise ConnectionResetError

    def write(self, data: bytes) -> None:
        """Goes nowhere."""

    writelines = write

    async def drain(self) -> None:
        raise ConnectionResetError

    def close(self) -> None:
        """It is."""

    async def wait_closed(self) -> None:
        raise ConnectionResetError


async def test_close_says_that_a_connection_is_gone_that_was_reset_at_a_ping() -> None:
    assert parameters(NATSClient._close) == ["self", "status", "do_cbs"]
    client, is_closed = Client(lambda *_: None, lambda: None, must_encrypt=False), asyncio.Event()

    async def on_closed() -> None:
        is_closed.set()

    client._closed_cb, client.options["allow_reconnect"] = on_closed, False
    client._transport, client._current_server = ResetTransport(), object()  # type: ignore[assignment]
    client._flush_queue, client._status = asyncio.Queue(), NATSClient.CONNECTED
    client._flusher_task = asyncio.ensure_future(asyncio.Event().wait())
    await client._send_ping()
    assert client._pending_data_size
    await client._read_loop()
    assert is_closed.is_set()


def test_a_parser_takes_the_client_and_bytes() -> None:
    assert len(parameters(Parser.__init__)) == 2
    assert parameters(Parser.parse) == ["self", "data"]
    assert inspect.iscoroutinefunction(Parser.parse)


async def test_process_info_is_called_before_anything_is_said() -> None:
    assert parameters(NATSClient._process_info) == ["self", "info", "initial_connection"]
    source = inspect.getsource(NATSClient._process_connect_init)
    assert source.index("self._process_info(srv_info, initial_connection=True)") < source.index("tls_required")
    assert source.index("tls_required") < source.index("_connect_command()")


def test_transport_is_what_the_client_reads_and_writes() -> None:
    assert NATSClient()._transport is None
    assert parameters(TcpTransport.write) == ["self", "payload"]
    assert inspect.iscoroutinefunction(TcpTransport.drain)


def transport() -> TcpTransport:
    return TcpTransport()  # type: ignore[no-untyped-call]


def test_io_writer_is_the_stream_of_a_transport() -> None:
    assert transport()._io_writer is None
    assert "self._io_writer" in inspect.getsource(TcpTransport.drain)


def test_the_next_major_version_is_not_installed() -> None:
    project = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())
    (client,) = project["project"]["optional-dependencies"]["nats"]
    assert client.endswith(",<3")


def test_what_is_whole_does_not_stay_in_the_parser() -> None:
    parser = Parser()
    asyncio.run(parser.parse(b"+OK\r\n"))
    assert not parser.buf


def test_no_other_private_name_is_used() -> None:
    """Each has a test here, and a line in the decision record of the protocol clients."""
    folder = Path(inspect.getfile(Client)).parents[1]
    used: set[str] = set()
    for source in (path.read_text() for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(source)) if re.search(r"^\s*(import|from) nats\.", source, re.MULTILINE) else ():
            if isinstance(node, ast.Attribute):
                used.add(node.attr)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                used.add(node.name)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                used.add(node.value)
    library = {*dir(NATSClient()), *dir(Parser()), *dir(transport())}
    private = {name for name in used & library if name.startswith("_") and not name.startswith("__")}
    assert private == {
        "_ps", "_process_info", "_close", "_pending_data_size", "_transport", "_io_writer",
    }  # fmt: skip
