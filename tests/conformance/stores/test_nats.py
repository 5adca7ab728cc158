"""The stores of the NATS driver keep the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from tasuki.contracts.state.store import Store
from tasuki.drivers.nats.driver import NATSDriver
from tasuki.drivers.nats.protocol.api import ask
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.state.store import NATSStore
from tasuki.testing.conformance import ShiftedClock
from tasuki.testing.conformance.stores import StoreConformance
from tests.conformance.test_nats import TestNATS as _Driver
from tests.support.brokers.nats import NATSBroker
from tests.support.brokers.place import Proxied


class TestNATSStore(Proxied, StoreConformance):
    shared_broker = NATSBroker
    takes_clock = False
    patience = 8.0

    def make_driver(self, place: Path, clock: ShiftedClock) -> NATSDriver:
        return _Driver().make_driver(place, clock)

    def version(self) -> str:
        return _Driver().version()

    async def restart(self, place: Path) -> None:
        NATSBroker.shared().restart()

    @asynccontextmanager
    async def full(self, store: Store) -> AsyncIterator[None]:
        assert isinstance(store, NATSStore)
        stream, reach = store._subjects.stream, store._connections.reach

        async def limit(connection: Connection, *, is_full: bool) -> None:
            (info,) = await ask(connection, "", [(f"STREAM.INFO.{stream}", {})])
            config = {**info["config"], "max_bytes": info["state"]["bytes"] if is_full else -1}
            (answer,) = await ask(connection, "", [(f"STREAM.UPDATE.{stream}", config)])
            assert "error" not in answer

        await reach(partial(limit, is_full=True))
        yield
        await reach(partial(limit, is_full=False))
