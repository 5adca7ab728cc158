"""Redis and Valkey as private child processes: alone, with a replica and a Sentinel, or as a cluster of their own."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import hiredis

from tests.support.brokers.broker import START_TIMEOUT, Broker
from tests.support.ports import free_port

MASTER = "queues"
"""What the Sentinel calls its master."""

_LAST_SLOT = 16383
_LOG = ("--appendonly", "yes", "--appendfsync", "no")
"""Written before each answer: enough for kill -9. With everysec it is written late while the disk is busy."""


class Redis(Broker):
    """One server with an append-only log, so that a restart keeps everything."""

    name = "redis"
    package = "redis-server"
    address = "redis://127.0.0.1:{port}"
    program = "redis-server"

    def __init__(self, *options: str) -> None:
        super().__init__()
        self.options: Sequence[str] = options or _LOG
        """Beside those that every server has."""

    @property
    def data(self) -> Path:
        """The folder of its append-only log."""
        return self.folder / "appendonlydir"

    def command(self) -> Sequence[str]:
        """Without snapshots, on loopback only."""
        return (
            self.binary(self.program),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""),
            *self.options,
        )

    def is_ready(self) -> bool:
        """Whether it answers a PING and has loaded its data."""
        return self.ask("PING")[:1] in ("+", "-") and not self.ask("PING").startswith("-LOADING")

    def ask(self, *words: str) -> str:
        """The answer to a command, as it comes over the line, without the last line's end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            command = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
            connection.sendall(command.encode())
            with connection.makefile("rb") as lines:
                line = lines.readline().decode()
                if line.startswith("$") and line[1] != "-":
                    line += lines.read(int(line[1:]) + 2).decode()
                return line.rstrip("\r\n")


class Valkey(Redis):
    """The same of Valkey."""

    name = "valkey"
    package = "valkey-server"
    program = "valkey-server"


class Sentinel(Redis):
    """A Sentinel that watches a primary and its replica, and promotes the replica soon after the primary is gone."""

    name = "sentinel"

    def __init__(self) -> None:
        super().__init__()
        self.primary = Redis(*_LOG, "--repl-diskless-sync-delay", "0")
        self.replica = Redis(*_LOG, "--replicaof", "127.0.0.1", str(self.primary.port))

    def prepare(self) -> None:
        """Start the two servers first."""
        self.primary.start()
        self.replica.start()
        _until(partial(follows, self.replica), "the replica")
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor {MASTER} 127.0.0.1 {self.primary.port} 1\n"
            f"sentinel down-after-milliseconds {MASTER} 500\nsentinel failover-timeout {MASTER} 2000\n"
        )

    def command(self) -> Sequence[str]:
        """It rewrites its configuration file by itself."""
        return (self.binary(self.program), str(self.folder / "sentinel.conf"), "--sentinel")

    def is_ready(self) -> bool:
        """Whether it knows the replica."""
        return "slave0:" in self.ask("INFO", "sentinel") or "slaves=1" in self.ask("INFO", "sentinel")

    def end(self) -> None:
        """End the two servers too."""
        super().end()
        self.primary.end()
        self.replica.end()


class ScriptedSentinel:
    """Says that ``master`` is the master, by a configuration of this epoch; silent, it answers nothing."""

    def __init__(self, master: int, epoch: int = 1, *, silent: bool = False) -> None:
        self.master = master
        self.epoch = epoch
        self.port = 0
        self._silent = silent
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> ScriptedSentinel:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        commands = hiredis.Reader(notEnoughData=None)
        while data := await reader.read(65536):
            commands.feed(data)
            while (words := commands.gets()) is not None and not self._silent:
                writer.write(self._answer(*words))
        writer.close()

    def _answer(self, *words: bytes) -> bytes:
        match words:
            case b"PING", *_:
                return b"+PONG\r\n"
            case b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", _:
                return b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(self.master)), self.master)
            case b"SENTINEL", b"MASTER", _:
                return b"*2\r\n$12\r\nconfig-epoch\r\n$%d\r\n%d\r\n" % (len(str(self.epoch)), self.epoch)
        return b"-ERR unknown command\r\n"


class Cluster(Redis):
    """Three nodes that share the slots; this one is the first."""

    name = "redis-cluster"

    def __init__(self) -> None:
        # Not the usual port + 10000: that may be too high, or taken.
        self._bus = free_port()
        super().__init__(*_cluster_options(self._bus))
        self.nodes: Sequence[Redis] = (self, *(Redis(*_cluster_options(free_port())) for _ in range(2)))

    def start(self) -> None:
        """Start the nodes, make them meet, and deal the slots out; a restart finds all that on its disk."""
        is_new = self.process is None
        super().start()
        for number, node in enumerate(self.nodes):
            if node is not self and (node.process is None or node.process.poll() is not None):
                node.start()
            if is_new:
                first, last = number * _LAST_SLOT // 3 + (number > 0), (number + 1) * _LAST_SLOT // 3
                assert node.ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(last)) == "+OK"
                assert node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1)) == "+OK"
        for node in self.nodes[1:] if is_new else ():
            assert node.ask("CLUSTER", "MEET", "127.0.0.1", str(self.port), str(self._bus)) == "+OK"
        for node in self.nodes:
            _until(partial(_is_whole, node), "the cluster")

    def end(self) -> None:
        """End all nodes."""
        super().end()
        for node in self.members():
            if node is not self:
                node.end()

    def members(self) -> Sequence[Redis]:
        """All servers."""
        return self.nodes


class ReplicatedCluster(Cluster):
    """The same, each of the three with a replica that takes its place."""

    name = "redis-cluster-replicated"

    def __init__(self) -> None:
        super().__init__()
        self.replicas: Sequence[Redis] = tuple(Redis(*_cluster_options(free_port())) for _ in range(3))

    def start(self) -> None:
        """Start the replicas too, and wait until they follow."""
        is_new = self.process is None
        super().start()
        for replica, node in zip(self.replicas, self.nodes, strict=True) if is_new else ():
            replica.start()
            bus = replica.options[-1]
            assert self.ask("CLUSTER", "MEET", "127.0.0.1", str(replica.port), bus) == "+OK"
            id = node.ask("CLUSTER", "MYID").splitlines()[1]
            _until(partial(_is_replica, replica, id), "the replica to know its master")
        for replica in self.replicas if is_new else ():
            _until(partial(follows, replica), "the replica")

    def members(self) -> Sequence[Redis]:
        """Masters and replicas."""
        return (*self.nodes, *self.replicas)


def _is_replica(node: Redis, of: str) -> bool:
    return node.ask("CLUSTER", "REPLICATE", of) == "+OK"


def follows(node: Redis) -> bool:
    return "master_link_status:up" in node.ask("INFO", "replication")


def _cluster_options(bus: int) -> Sequence[str]:
    options = ("--repl-diskless-sync-delay", "0", "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    return (*_LOG, *options, "--cluster-port", str(bus))


def _is_whole(node: Redis) -> bool:
    state = node.ask("CLUSTER", "INFO")
    return "cluster_state:ok" in state and "cluster_known_nodes:1" not in state and "cluster_known_nodes:2" not in state


def _until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + START_TIMEOUT
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.05)
