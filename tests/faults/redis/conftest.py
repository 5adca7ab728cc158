"""Servers of Redis and Valkey for the fault tests: one for each test, with a proxy, a replica or a cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasuki.testing.proxy import Proxy
from tests.support.brokers.redis import Redis, ReplicatedCluster, Sentinel, Valkey


@pytest.fixture(params=[Redis, Valkey], ids=["redis", "valkey"])
def broker(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """A server for each test, with the ``OPTIONS`` of the test's module."""
    broker: Redis = request.param(*getattr(request.module, "OPTIONS", ()))
    broker.start()
    yield broker
    broker.end()


@pytest.fixture
def proxy(broker: Redis) -> Iterator[Proxy]:
    proxy = Proxy(broker.port)
    yield proxy
    proxy.close()


@pytest.fixture
def sentinel() -> Iterator[Sentinel]:
    broker = Sentinel()
    broker.start()
    yield broker
    for server in (broker, broker.primary, broker.replica):
        server.end()


@pytest.fixture
def replicated() -> Iterator[ReplicatedCluster]:
    broker = ReplicatedCluster()
    broker.start()
    yield broker
    for node in broker.members():
        node.end()
