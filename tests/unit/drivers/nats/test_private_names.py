"""The private names of nats-py that the driver relies on: what each of them must be."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import tomllib
from pathlib import Path

import pytest
from nats.aio.client import Client as NATSClient
from nats.aio.transport import TcpTransport
from nats.protocol.parser import Parser

from tasuki.drivers.nats.protocol.client import Client, Reader

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
    assert private == {"_ps", "_process_info", "_transport", "_io_writer"}
