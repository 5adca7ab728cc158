"""Redis and Valkey as private child processes: alone, with a replica and a Sentinel, or as a cluster of their own."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from tests.support.brokers.broker import Broker


class Redis(Broker):
    """One server with an append-only log, so that a restart keeps everything."""

    name = "redis"
    package = "redis-server"
    program = "redis-server"
    options: Sequence[str] = ("--appendonly", "yes", "--appendfsync", "everysec")
    """Beside those that every server has."""

    def command(self) -> Sequence[str]:
        """Without snapshots, on loopback only."""
        return (
            self.binary(self.program),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""),
            *("--enable-debug-command", "yes"),
            *self.options,
        )

    def is_ready(self) -> bool:
        """Whether it answers a PING and has loaded its data."""
        return self.ask("PING") == "+PONG"

    def ask(self, *words: str) -> str:
        """The first line of the answer to a command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            command = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
            connection.sendall(command.encode())
            return connection.makefile("rb").readline().decode().rstrip()


class Valkey(Redis):
    """The same of Valkey."""

    name = "valkey"
    package = "valkey-server"
    program = "valkey-server"
