"""A gate and a proxy before SQS, and a queue for each test."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tasuki.testing.proxy import Proxy
from tests.support.brokers.sqs import SQS
from tests.support.brokers.sqs_gate import Gate


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate(SQS.shared().port)
    yield made
    made.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy(SQS.shared().port)
    yield made
    made.close()


@pytest.fixture
def queue() -> str:
    return f"q-{uuid4().hex}"
