"""A private NATS server with JetStream."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from tests.support.brokers.broker import START_TIMEOUT, Broker
from tests.support.ports import free_port


class NATSBroker(Broker):
    """One server; ``settings`` are lines added to its configuration."""

    name = "nats"
    package = "nats-server"
    address = "nats://127.0.0.1:{port}"
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
        self.monitoring_port = free_port()
        self.peers: Sequence[str] = ()

    def command(self) -> Sequence[str]:
        self.settings = (
            f"server_name: {self.server_name}",
            f'http: "127.0.0.1:{self.monitoring_port}"',
            f'cluster {{ name: tests, listen: "127.0.0.1:{self.cluster_port}", routes: [{", ".join(self.peers)}] }}',
        )
        return super().command()

    def missing(self, routes: int) -> str:
        """What it still lacks to take any request; empty: nothing. A leader of all, streams, and this many routes."""
        try:
            health = self._page("healthz")
            known = {route["remote_id"] for route in self._page("routez")["routes"]}
        except (OSError, ValueError, KeyError) as error:
            return f"{self.server_name}: {error}"
        if health.get("status") != "ok":
            return f"{self.server_name}: {health}"
        return "" if len(known) >= routes else f"{self.server_name} knows {len(known)} of {routes} others"

    def _page(self, name: str) -> dict[str, Any]:
        try:
            answer = urllib.request.urlopen(f"http://127.0.0.1:{self.monitoring_port}/{name}", timeout=5.0)
        except urllib.error.HTTPError as error:
            answer = error  # what it is not healthy for stands in the answer
        with answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found


def whole(nodes: Sequence[NATSNode]) -> None:
    """Wait until all servers run, know each other and their leader, and have caught up with all streams."""
    end = time.monotonic() + START_TIMEOUT
    while lacks := [text for node in nodes if (text := node.missing(len(nodes) - 1))]:
        assert time.monotonic() < end, "; ".join(lacks)
        time.sleep(0.05)


def cluster(size: int) -> list[NATSNode]:
    """Running servers that know each other, and have a leader."""
    nodes = [NATSNode(number) for number in range(size)]
    for node in nodes:
        node.peers = [f'"nats://127.0.0.1:{each.cluster_port}"' for each in nodes]
    for node in nodes:
        node.start()
    whole(nodes)
    return nodes
