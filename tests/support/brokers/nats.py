"""A private NATS server with JetStream."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from tests.support.brokers.broker import Broker


class NATSBroker(Broker):
    """One server; ``settings`` are lines added to its configuration."""

    name = "nats"
    package = "nats-server"
    settings: Sequence[str] = ()

    def command(self) -> Sequence[str]:
        config = self.folder / "nats.conf"
        lines = [
            f'listen: "127.0.0.1:{self.port}"',
            f'jetstream {{ store_dir: "{self.folder}/data" }}',
            "max_payload: 9MB",
            *self.settings,
        ]
        config.write_text("\n".join(lines) + "\n")
        return [self.binary("nats-server", "/usr/sbin/nats-server"), "-c", str(config)]

    def is_ready(self) -> bool:
        """The server speaks first."""
        with socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
            connection.settimeout(1.0)
            return connection.recv(4) == b"INFO"
