"""The proxy that the suites put before their brokers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest

from tasuki.testing.proxy import Proxy

TIMEOUT = 30.0


class Echo(StreamRequestHandler):
    def handle(self) -> None:
        try:
            while data := self.request.recv(100):
                self.request.sendall(data)
        except ConnectionError:
            pass


class Client:
    """A proxy before a server that returns what it gets, and connections to it."""

    def __init__(self, proxy: Proxy, stack: ExitStack) -> None:
        self.proxy = proxy
        self._stack = stack

    def connect(self) -> socket.socket:
        return self._stack.enter_context(socket.create_connection(("127.0.0.1", self.proxy.port), TIMEOUT))


@pytest.fixture
def client() -> Iterator[Client]:
    with ExitStack() as stack:
        server = stack.enter_context(ThreadingTCPServer(("127.0.0.1", 0), Echo))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        stack.callback(server.shutdown)
        proxy = Proxy(server.server_address[1])
        stack.callback(proxy.close)
        yield Client(proxy, stack)
        proxy.close()  # a second close does nothing


def echoed(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    return connection.recv(100)


def is_over(connection: socket.socket) -> bool:
    try:
        return connection.recv(100) == b""
    except ConnectionError:
        return True


def is_refused(client: Client) -> bool:
    try:
        return is_over(client.connect())
    except ConnectionError:
        return True


def test_it_passes_bytes_on_and_counts(client: Client) -> None:
    assert echoed(client.connect(), b"one") == b"one"
    assert echoed(client.connect(), b"two") == b"two"
    assert (client.proxy.accepted, client.proxy.connections()) == (2, 2)


def test_it_cuts_connections_and_serves_new_ones(client: Client) -> None:
    connection = client.connect()
    echoed(connection, b"one")
    client.proxy.cut()
    assert is_over(connection)
    assert echoed(client.connect(), b"two") == b"two"


def test_it_refuses_until_it_serves(client: Client) -> None:
    connection = client.connect()
    echoed(connection, b"one")
    client.proxy.refuse()
    assert is_over(connection)
    assert is_refused(client)
    client.proxy.serve()
    assert echoed(client.connect(), b"two") == b"two"


def test_bytes_that_it_silenced_arrive_later(client: Client) -> None:
    connection = client.connect()
    echoed(connection, b"one")
    client.proxy.silence()
    connection.sendall(b"two")
    connection.setblocking(False)
    with pytest.raises(BlockingIOError):
        connection.recv(100)
    connection.settimeout(TIMEOUT)
    client.proxy.serve()
    assert connection.recv(100) == b"two"


def test_a_hushed_connection_stays_silent_and_new_ones_are_served(client: Client) -> None:
    hushed = client.connect()
    echoed(hushed, b"one")
    client.proxy.hush()
    hushed.sendall(b"two")
    assert echoed(client.connect(), b"three") == b"three"
    hushed.setblocking(False)
    with pytest.raises(BlockingIOError):
        hushed.recv(100)


def test_swallowed_answers_never_come(client: Client) -> None:
    connection = client.connect()
    echoed(connection, b"one")
    client.proxy.swallow()
    connection.sendall(b"two")
    client.proxy.serve()
    assert is_over(connection)


def test_it_damages_one_answer(client: Client) -> None:
    connection = client.connect()
    client.proxy.damage = bytes.upper
    assert echoed(connection, b"one") == b"ONE"
    assert echoed(connection, b"two") == b"two"


def test_a_connection_is_cut_while_the_target_has_not_taken_it() -> None:
    with ExitStack() as stack:
        target = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        stack.enter_context(socket.create_connection(target.getsockname()))  # there is no room for another one
        proxy = Proxy(target.getsockname()[1])
        stack.callback(proxy.close)
        waiting = Client(proxy, stack).connect()
        while not proxy._writers:
            time.sleep(0.01)
        proxy.refuse()
        assert is_over(waiting)
        with suppress(ConnectionError):
            Client(proxy, stack).connect()  # one that the end of the proxy may meet
