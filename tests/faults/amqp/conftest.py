"""The broker of the fault tests at RabbitMQ, a proxy before it, and a queue for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tasuki.testing.proxy import Proxy
from tests.support.brokers.rabbitmq import RabbitMQ


@pytest.fixture
def broker() -> RabbitMQ:
    return RabbitMQ.shared()


@pytest.fixture
def proxy(broker: RabbitMQ) -> Iterator[Proxy]:
    proxy = Proxy(broker.port)
    yield proxy
    proxy.close()


@pytest.fixture
def queue() -> str:
    """A name that no other test has."""
    return f"q-{uuid.uuid4().hex[:12]}"
