from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.sqs.clients import Clients
from tasuki.drivers.sqs.declaring import Declaring
from tasuki.errors import QueueNotFoundError


class Nothing:
    """Has no queue, and notes which are made."""

    def __init__(self) -> None:
        self.made: list[dict[str, str]] = []

    async def call(self, verb: str, queue: str = "", **fields: Any) -> dict[str, Any]:
        if verb == "get_queue_url":
            raise QueueNotFoundError("no")
        if verb == "create_queue":
            self.made.append(fields["Attributes"])
            return {"QueueUrl": "http://localhost/q"}
        return {}


@pytest.mark.parametrize(
    ("is_temporary", "retention", "kept"), [(False, 86_400.0, "86400"), (True, 86_400.0, "3600"), (True, 60.0, "60")]
)
def test_a_temporary_queue_keeps_messages_for_an_hour(is_temporary: bool, retention: float, kept: str) -> None:
    clients = Nothing()
    declaring = Declaring("app:sqs", cast("Clients", clients), retention=retention, default_delay=0.0)
    asyncio.run(declaring.declare(QueueSpec("reply.1", temporary=is_temporary)))
    (attributes,) = clients.made
    assert attributes["MessageRetentionPeriod"] == kept
