"""RabbitMQ: its own node with its own epmd, so that it meets no other node on the machine."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.support.brokers.broker import Broker, _die_with_parent, _starter
from tests.support.ports import free_port

_SETTINGS = """\
loopback_users = none
vm_memory_high_watermark.absolute = 4GB
disk_free_limit.absolute = 1MB
log.console.level = warning
"""
_SMALL = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -start_epmd false"
"""Few schedulers that do not spin; and no epmd that would outlive the tests."""


class RabbitMQ(Broker):
    """A single node; ``guest`` with the password ``guest`` may do everything."""

    name = "rabbitmq"
    package = "rabbitmq-server"
    address = "amqp://127.0.0.1:{port}/"
    settings = ""
    """More lines for its configuration."""
    plugins = ""
    """Names of plugins, with commas between."""

    def __init__(self) -> None:
        super().__init__()
        self.port_of_epmd = free_port()
        self.port_between_nodes = free_port()
        self.epmd: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """The script that becomes the virtual machine: not the one in sbin, which changes the user."""
        return [self.binary("/usr/lib/rabbitmq/bin/rabbitmq-server")]

    def environment(self) -> Mapping[str, str]:
        """Everything below the folder, and the process itself in the place of the script (as under systemd)."""
        folder = self.folder
        return {
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(self.port_of_epmd),
            "RUNNING_UNDER_SYSTEMD": "1",
            "RABBITMQ_NODENAME": f"t{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.port_between_nodes),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_SCHEMA_DIR": str(folder / "schema"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _SMALL,
            "LANG": "C.UTF-8",
        }

    def prepare(self) -> None:
        """Write its settings, and start its epmd."""
        (self.folder / "plugins").write_text(f"[{self.plugins}].\n")
        (self.folder / "rabbitmq.conf").write_text(_SETTINGS + self.settings)
        if self.epmd is None or self.epmd.poll() is not None:
            self.epmd = _starter.submit(self._spawn_epmd).result()
            _wait_for_port(self.port_of_epmd)

    def _spawn_epmd(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.binary("epmd"), "-address", "127.0.0.1", "-port", str(self.port_of_epmd)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - two system calls, no lock
            process_group=0,
        )

    def is_ready(self) -> bool:
        """The handshake is answered, and not only the port open."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2.0) as connection:
            connection.settimeout(2.0)
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(8)[:1] == b"\x01"

    def sync(self) -> None:
        """It notes the names of new quorum queues seconds later; killed before that, it finds no member of them again.

        Queues are older than that when brokers die, but queues of a test are not.
        """
        self.control("eval", "[dets:sync(Table) || Table <- dets:all()].")

    def end(self) -> None:
        """Its epmd ends with it."""
        super().end()
        if self.epmd is not None:
            self.epmd.kill()
            self.epmd.wait()

    def control(self, *arguments: str) -> str:
        """What ``rabbitmqctl`` prints for a command."""
        done = subprocess.run(
            [self.binary("/usr/lib/rabbitmq/bin/rabbitmqctl"), "-q", *arguments],
            env={**os.environ, **self.environment()},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,  # it starts a virtual machine: 1 s on a quiet machine
        )
        assert done.returncode == 0, f"rabbitmqctl {arguments}: {done.stdout}{done.stderr}"
        return done.stdout


def _wait_for_port(port: int) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            assert time.monotonic() < end, "epmd did not start"
            time.sleep(0.02)
        else:
            return


class RabbitMQNode(RabbitMQ):
    """One node of a cluster; ``seed`` is the first one, whose epmd and cookie all share."""

    def __init__(self, seed: RabbitMQNode | None = None) -> None:
        super().__init__()
        self.seed = seed or self
        self.port_of_epmd = self.seed.port_of_epmd
        self.peers: Sequence[str] = ()

    @property
    def node_name(self) -> str:
        return self.environment()["RABBITMQ_NODENAME"]

    def prepare(self) -> None:
        """Its peers and the cookie, too."""
        lines = ["cluster_formation.peer_discovery_backend = classic_config"]
        lines += [
            f"cluster_formation.classic_config.nodes.{number} = {name}" for number, name in enumerate(self.peers, 1)
        ]
        self.settings = "\n".join(lines) + "\n"
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text("tests")
            cookie.chmod(0o400)
        if self.seed is not self:
            self.epmd = self.seed.epmd
        super().prepare()

    def end(self) -> None:
        """The seed's epmd ends with the seed."""
        if self.seed is not self:
            self.epmd = None
        super().end()


def cluster(size: int) -> list[RabbitMQNode]:
    """Running nodes of one cluster."""
    seed = RabbitMQNode()
    nodes = [seed, *(RabbitMQNode(seed) for _ in range(size - 1))]
    for node in nodes:
        node.peers = [each.node_name for each in nodes]
    seed.prepare()
    with ThreadPoolExecutor(size) as pool:
        list(pool.map(RabbitMQNode.start, nodes))
    seed.control("await_startup")
    seed.control("await_online_nodes", str(size))
    return nodes
