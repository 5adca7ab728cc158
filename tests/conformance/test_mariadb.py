"""The MariaDB driver, its own package in ``examples``, keeps the contract."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from tasuki.testing.conformance import DriverConformance, ShiftedClock
from tasuki.testing.conformance.driver.content import Content
from tasuki.testing.conformance.driver.moving import Moving
from tasuki.testing.conformance.driver.whole import Whole
from tasuki.testing.conformance.queues.by_id import ById
from tasuki.testing.conformance.queues.inspecting import Inspecting
from tasuki_mariadb import polling
from tasuki_mariadb.driver import MariaDbDriver
from tasuki_mariadb.settings import MariaDbSettings
from tests.support.brokers.broker import Broker
from tests.support.brokers.mariadb import MariaDb
from tests.support.brokers.place import Proxied, address
from tests.support.brokers.versions import version_of
from tests.support.settings import parsed

polling.SWEEP_INTERVAL = 1.0


class Server(Proxied):
    takes_clock = False
    real_seconds = 1.5
    patience = 14.0
    removes_within = 20.0
    shared_broker: ClassVar[type[Broker]] = MariaDb

    def make_driver(self, place: Path, clock: ShiftedClock) -> MariaDbDriver:
        there = address(self.shared_broker, place)
        url = f"mariadb://root@127.0.0.1:{there['port']}/tasuki"
        settings = parsed(MariaDbSettings, url=url, prefix=there["name"].lower()[:40], timeout=6.0, connect_timeout=3.0)
        return MariaDbDriver("mariadb", settings, clock)

    def version(self) -> str:
        return version_of("MariaDB", [MariaDb.shared().binary("mariadbd", "/usr/sbin/mariadbd"), "--version"])

    async def restart(self, place: Path) -> None:
        self.shared_broker.shared().restart()  # here: it ends with the thread that started it


class TestQuick(Server, Content, ById, Inspecting, Moving, Whole):
    """The cases that hardly wait: `make matrix` runs all."""


@pytest.mark.variant
class TestMariaDb(Server, DriverConformance):
    pass
