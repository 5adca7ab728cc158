"""A private NATS server with JetStream."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from tests.support.brokers.broker import Broker, free_port


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


class NATSNode(NATSBroker):
    """One server of a cluster; ``peers`` are the addresses of all."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.server_name = f"n{number}"
        self.cluster_port = free_port()
        self.peers: Sequence[str] = ()

    def command(self) -> Sequence[str]:
        self.settings = (
            f"server_name: {self.server_name}",
            f'cluster {{ name: tests, listen: "127.0.0.1:{self.cluster_port}", routes: [{", ".join(self.peers)}] }}',
        )
        return super().command()


def cluster(size: int) -> list[NATSNode]:
    """Running servers that know each other."""
    nodes = [NATSNode(number) for number in range(size)]
    for node in nodes:
        node.peers = [f'"nats://127.0.0.1:{each.cluster_port}"' for each in nodes]
    for node in nodes:
        node.start()
    return nodes
