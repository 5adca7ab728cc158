"""A busy broker answers 0 for a queue whose leader did not answer it in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pamqp import commands

from tasuki.drivers.amqp.protocol import connection

pytestmark = pytest.mark.anyio


class Channel:
    """Answers each queue with its next number."""

    def __init__(self, **numbers: Sequence[int]) -> None:
        self._numbers = {queue: list(found) for queue, found in numbers.items()}

    async def ask(self, *methods: Any) -> list[Any]:
        return [
            commands.Queue.DeclareOk(method.queue, self._numbers[method.queue].pop(0), 0)  # as many as the test gives
            for method in methods
        ]


async def test_a_late_0_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IN_TIME", -1.0)
    channel: Any = Channel(a=[3], b=[0, 0, 5], c=[0] * 6)
    assert await connection.ready_counts(channel, ["a", "b", "c"]) == [3, 5, 0]


async def test_a_0_in_time_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IN_TIME", 60.0)
    channel: Any = Channel(a=[0], b=[2])
    assert await connection.ready_counts(channel, ["a", "b"]) == [0, 2]
