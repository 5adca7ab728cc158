"""The bounds of a connection, in virtual time; and where the server listens."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from tasuki.desk import server
from tasuki.desk.server import PATIENCE, BoundedProtocol, _Server, is_loopback, listen
from tasuki.testing.clock import VirtualTimeLoop

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


class Line(asyncio.Transport):
    """The other end of a connection, as far as the protocol sees it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.sent = b""
        self.is_aborted = self.is_closed = False

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def abort(self) -> None:
        self.is_aborted = True

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_aborted or self.is_closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Served:
    """Connections of one server."""

    def __init__(self) -> None:
        self._config = uvicorn.Config(answer, log_config=None, lifespan="off", access_log=False)
        self._config.load()
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self.state = ServerState()

    def connect(self) -> tuple[BoundedProtocol, Line]:
        made, line = BoundedProtocol(self._config, self.state, {}, asyncio.get_running_loop()), Line()
        made.connection_made(line)
        return made, line


async def test_half_a_header_is_waited_for_no_longer_than_ten_seconds() -> None:
    made, line = Served().connect()
    made.data_received(GET[:20])

    await asyncio.sleep(PATIENCE - 1)
    assert not line.is_aborted
    made.data_received(GET[20:25])
    await asyncio.sleep(2)

    assert line.is_aborted


async def test_a_connection_that_says_nothing_ends() -> None:
    _, line = Served().connect()

    await asyncio.sleep(PATIENCE + 1)

    assert line.is_aborted


async def test_a_request_in_time_is_answered_and_the_next_one_has_its_own_time() -> None:
    made, line = Served().connect()
    made.data_received(GET)
    await asyncio.sleep(1)
    assert line.sent.endswith(b"ok")

    await asyncio.sleep(3)
    made.data_received(GET[:5])
    await asyncio.sleep(PATIENCE - 1)
    assert not line.is_aborted
    made.data_received(GET[5:])
    await asyncio.sleep(1)

    assert line.sent.count(b"ok") == 2
    assert not line.is_aborted


async def test_a_client_that_reads_nothing_is_cut_off() -> None:
    made, line = Served().connect()
    made.data_received(GET)
    await asyncio.sleep(1)

    made.pause_writing()
    await asyncio.sleep(PATIENCE - 1)
    made.resume_writing()
    made.pause_writing()
    await asyncio.sleep(PATIENCE - 1)
    assert not line.is_aborted
    await asyncio.sleep(2)

    assert line.is_aborted


async def test_above_the_bound_the_longest_idle_connection_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 2)
    served = Served()
    answered, kept = served.connect()
    await asyncio.sleep(1)
    _, idle = served.connect()
    await asyncio.sleep(1)
    answered.data_received(GET)
    await asyncio.sleep(1)

    probe, line = served.connect()
    probe.data_received(GET)
    await asyncio.sleep(1)

    assert [kept.is_aborted, idle.is_aborted, line.is_aborted] == [False, True, False]
    assert line.sent.endswith(b"ok")


async def test_too_many_connections_with_requests_are_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 2)
    served = Served()
    lines = [served.connect() for _ in range(2)]
    for made, _ in lines:
        made.data_received(GET)  # the answer begins at the loop's next turn

    lines.append(served.connect())

    assert [line.is_aborted for _, line in lines] == [False, False, True]
    for made, _ in lines:
        made.connection_lost(None)
    assert not served.state.connections
    assert not served.connect()[1].is_aborted


async def test_as_many_new_connections_as_there_are_end_as_many_idle_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 3)
    served = Served()
    lines = []
    for _ in range(6):
        lines.append(served.connect()[1])  # none of those before has told that it is lost
        await asyncio.sleep(0.1)

    assert [line.is_aborted for line in lines] == [True] * 3 + [False] * 3


async def test_a_connection_that_ends_leaves_no_timer() -> None:
    made, line = Served().connect()
    made.connection_lost(None)

    await asyncio.sleep(PATIENCE + 1)

    assert not line.is_aborted


@pytest.mark.parametrize("address", ["", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:x", "127.0.0.1:70000", "[::1]"])
def test_an_address_has_host_and_port(address: str) -> None:
    with pytest.raises(ValueError, match=r"write host:port, as in 127\.0\.0\.1:9321"):
        listen(address)


@pytest.mark.parametrize(
    ("host", "local"),
    [("localhost", True), ("127.0.0.9", True), ("::1", True), ("0.0.0.0", False), ("::", False), ("desk", False)],
)
def test_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local


class Counted(_Server):
    """Counts how often it wakes."""

    ticks = 0

    async def on_tick(self, counter: int) -> bool:
        self.ticks += 1
        return await super().on_tick(counter)


async def test_an_idle_server_wakes_once_a_second() -> None:
    server = Counted(uvicorn.Config("none", log_config=None))
    running = asyncio.create_task(server.main_loop())
    await asyncio.sleep(60.5)  # of virtual time

    assert server.ticks == 61
    assert server.server_state.default_headers[0][0] == b"date"
    server.should_exit = True
    await running
