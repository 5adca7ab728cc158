"""What forty idle workers of one queue ask of their broker, as it counts it itself where it can: whole apps, as run."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import time
import urllib.request
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tasuki import App
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.frames import HEARTBEAT_FRAME
from tasuki.drivers.nats.queues import queues
from tasuki.drivers.nats.receiving import pull_requests
from tasuki.drivers.nats.records import receivers, temporary
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.drivers.postgres.state import upkeep
from tasuki.drivers.postgres.waiting import BEAT
from tasuki.drivers.redis import opening
from tasuki.drivers.sqlite.file import connections
from tasuki.drivers.sqlite.state.reader import Reader
from tasuki.drivers.sqs import polling
from tasuki.state import shared, worker_heartbeat
from tasuki.state.worker_record import QUIET, Presence
from tests.support.brokers.everywhere import AWS
from tests.support.brokers.nats import NATSBroker
from tests.support.brokers.postgres import Postgres
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.redis import Redis
from tests.support.brokers.sqs import SQS
from tests.support.brokers.sqs_gate import Gate
from tests.support.ports import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(180)]

WORKERS = 40
PATIENCE = 170.0
REGISTERED = 450.0
"""Seconds after which a waiting process is written again at Redis (``REFRESH`` of its scripts)."""


class Idle(ABC):
    """A broker with the workers' queue; ``count``: how much it has been asked so far."""

    has_signs = True
    """Whether the signs of presence, of a request each, come to it."""
    rare = 0.0
    """Requests a second that all workers make less often than this test counts, and ``count`` leaves out."""
    settling = 2.0
    """Seconds in which workers that began together learn of each other."""

    def __init__(self, folder: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.begin(stack, monkeypatch)

    @abstractmethod
    def begin(self, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        """Start the broker, and its counting."""

    @abstractmethod
    def count(self) -> int:
        """How much it has been asked since it began."""

    async def turn(self) -> None:
        """Wait for a moment that comes once in a round of the workers' requests: counting begins and ends there."""
        return

    @property
    @abstractmethod
    def entry(self) -> tuple[str, dict[str, Any]]:
        """Kind and fields of the driver."""

    def worker(self) -> App:
        """The app of one worker; where the broker keeps no state, that is in a SQLite file."""
        kind, fields = self.entry
        app = App(f"sqlite:///{self.folder / 'state.db'}")
        if kind in ("queue.driver.amqp", "queue.driver.sqs"):
            app.entry("state", "store.sqlite", {"driver": "driver"})
            app.queue("unused")
            fields = {**fields, "state": "state"}
        app.entry("broker", kind, fields)

        @app.queue("q", driver="broker").consumer
        async def handle(body: str) -> None:
            raise AssertionError(body)

        return app


class IdleSQLite(Idle):
    """Statements, of the threads that write and of those that read."""

    entry = "queue.driver.sqlite", {}

    def begin(self, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        self._statements = Counter[str]()
        self.entry = "queue.driver.sqlite", {"path": str(self.folder / "queue.db")}
        connect = connections.connect

        def traced(*arguments: Any) -> tuple[sqlite3.Connection, int]:
            connection, holder = connect(*arguments)
            connection.set_trace_callback(lambda _: self._statements.update("."))
            return connection, holder

        monkeypatch.setattr(connections, "connect", traced)
        connected = Reader._connected

        def read(reader: Reader) -> sqlite3.Connection:
            connection = connected(reader)
            connection.set_trace_callback(lambda _: self._statements.update("."))
            return connection

        monkeypatch.setattr(Reader, "_connected", read)

    def count(self) -> int:
        return self._statements.total()


class LoggingPostgres(Postgres):
    """Its log has every statement."""

    settings = (*Postgres.settings, "log_statement=all")


RARE = re.compile(r"\.(beat|store_follow|store_sweep|check_queues)\(|clock_timestamp")


class IdlePostgres(Idle):
    """Statements, which are transactions, by the server's log."""

    entry = "queue.driver.postgres", {}
    _follows = 1 / (0.875 * upkeep.FOLLOWED)  # between 0.75 and 1 of it
    _checks = 1 / PostgresSettings().poll_interval  # of all together, after a round of them
    rare = WORKERS * (1 / BEAT + _follows + 1 / upkeep.SWEEP + 1 / shared.TIME_KEPT) + _checks

    def begin(self, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        self._broker = stack.enter_context(LoggingPostgres())
        self.entry = "queue.driver.postgres", {"url": self._broker.url}
        monkeypatch.setattr(upkeep, "FRESH", 0.1)

    def count(self) -> int:
        asked = re.findall(r"LOG:  (?:statement|execute [^:]*): (.*)", self._broker.log())
        return sum(RARE.search(each) is None for each in asked)


class IdleRedis(Idle):
    """What comes over the connections: commands, and keep-alives of idle ones."""

    entry = "queue.driver.redis", {}
    settling = 75.0  # more than a round of their turns: the first one is of fewer
    rare = WORKERS * (1 / shared.TIME_KEPT + 1 / (opening.BEAT * opening.SELDOM) + 1 / REGISTERED)

    def begin(self, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        self._broker = stack.enter_context(Redis())
        self.entry = "queue.driver.redis", {"url": self._broker.url}

    def count(self) -> int:
        return int(self._broker.ask("INFO", "stats").partition("total_reads_processed:")[2].split()[0])


class CountingNATS(NATSBroker):
    """It has a monitoring port."""

    def __init__(self) -> None:
        super().__init__()
        self.monitoring_port = free_port()
        self.settings = (f'http: "127.0.0.1:{self.monitoring_port}"',)


class IdleNATS(Idle):
    """Messages that come in."""

    entry = "queue.driver.nats", {}
    _inspections = 1 / (queues.INSPECTED_EVERY * queues.WHERE_TOLD)
    rare = WORKERS * (
        1 / pull_requests.LONGEST
        + 1 / receivers.IDLE
        + _inspections
        + temporary.ROUNDS / temporary.KEPT
        + 1 / shared.TIME_KEPT
    )

    def begin(self, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(receivers, "EVERY", 0.5)  # the first report comes before the counting
        # A request stands longest at once, not after minutes of quiet.
        monkeypatch.setattr(pull_requests, "PER_QUIET", 1e6)
        self._broker = stack.enter_context(CountingNATS())
        self.entry = "queue.driver.nats", {"servers": self._broker.url}

    def count(self) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._broker.monitoring_port}/varz") as answer:
            return int(json.load(answer)["in_msgs"])


class IdleAMQP(Idle):
    """Frames that are written to the connections, without heartbeats."""

    has_signs = False
    entry = "queue.driver.amqp", {}

    def begin(self, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        self._written = Counter[str]()
        self.entry = "queue.driver.amqp", {"url": RabbitMQ.shared().url}
        write = Connection.write

        def counting(connection: Connection, data: bytes) -> None:
            if data != HEARTBEAT_FRAME:
                self._written.update(".")
            write(connection, data)

        monkeypatch.setattr(Connection, "write", counting)

    def count(self) -> int:
        return self._written.total()


class IdleSQS(Idle):
    """Requests; all workers poll at one moment, so that a count between two others may have a round too many."""

    has_signs = False
    rare = WORKERS / polling.FIND_EVERY
    entry = "queue.driver.sqs", {}

    def begin(self, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in AWS.items():
            monkeypatch.setenv(name, value)
        self._gate = Gate(SQS.shared().port)
        stack.callback(self._gate.close)
        self.entry = "queue.driver.sqs", {"endpoint": f"http://127.0.0.1:{self._gate.port}"}

    def count(self) -> int:
        return self._gate.times("ReceiveMessage")

    async def turn(self) -> None:
        before = self.count()
        while self.count() == before:
            await asyncio.sleep(0.02)


MOST: Mapping[type[Idle], float] = {
    IdlePostgres: 5.0,
    IdleRedis: 5.0,
    IdleAMQP: 1.0,
    IdleSQS: 32.0,
    IdleNATS: 5.0,
    IdleSQLite: 1200.0,
}
"""A second, of all workers together: what docs/performance.md promises."""


@asynccontextmanager
async def working(idle: Idle) -> AsyncIterator[None]:
    """All workers; they start and stop together."""
    ends, running = asyncio.Event(), asyncio.Semaphore(0)

    async def work() -> None:
        async with idle.worker().worker():
            running.release()
            await ends.wait()

    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(work())
        for _ in range(WORKERS):
            await running.acquire()
        yield
        ends.set()


class Sign(NamedTuple):
    """One write of an entry."""

    at: float
    is_well: bool


@pytest.fixture
def signs(monkeypatch: pytest.MonkeyPatch) -> dict[object, list[Sign]]:
    """When each worker wrote its entry, and whether it said then that it was well."""
    found: dict[object, list[Sign]] = {}
    written = worker_heartbeat._Entry.written

    def signed(entry: worker_heartbeat._Entry, presence: Presence, at: float) -> None:
        is_well = presence.health is None or presence.health.status in ("ok", "warning")
        found.setdefault(entry, []).append(Sign(at, is_well))
        written(entry, presence, at)

    monkeypatch.setattr(worker_heartbeat._Entry, "written", signed)
    return found


@pytest.mark.parametrize("kind", MOST, ids=lambda kind: kind.__name__.removeprefix("Idle").lower())
async def test_forty_idle_workers_ask_little_of_their_broker(
    kind: type[Idle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signs: dict[object, list[Sign]]
) -> None:
    async def all_have_signed(times: int) -> None:
        while sum(len(each) >= times for each in list(signs.values())) < WORKERS:
            await asyncio.sleep(0.02)

    with ExitStack() as stack:
        idle = kind(tmp_path, stack, monkeypatch)
        async with asyncio.timeout(PATIENCE), working(idle):
            await all_have_signed(1)
            await asyncio.sleep(idle.settling)
            await idle.turn()
            began, before = time.monotonic(), idle.count()
            await all_have_signed(2 + max(map(len, signs.values())) - 1)
            await idle.turn()
            elapsed, asked = time.monotonic() - began, idle.count() - before
    # On an overloaded machine a worker may say that it is not live, or is again: that is news, and not idle.
    signed = [each[-1].at - each[-2].at for each in signs.values() if each[-1].is_well and each[-2].is_well]
    in_between = sum(began < each.at <= began + elapsed for one in signs.values() for each in one)
    of_signs = sum(1 / each for each in signed) * WORKERS / len(signed)
    rate = (asked - in_between * idle.has_signs) / elapsed + of_signs * idle.has_signs
    print(f"{kind.__name__}: {rate + idle.rare:.2f} a second, of these {idle.rare:.2f} by their periods")
    assert min(signed) > QUIET - 0.1, "a worker whose entry stays the same writes it seldom"
    assert rate + idle.rare <= MOST[kind]
