"""Purging: the consumer that an ack of a hidden message goes to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tasuki.clock import SystemClock
from tasuki.drivers.nats.queues import contents
from tasuki.drivers.nats.records.side_records import Note

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "receipt",
    [
        "$JS.ACK.stream.lane.1.7.7.1700000000000000000.0",
        "$JS.ACK.domain.account.stream.lane.1.7.7.1700000000000000000.0",
        "$JS.ACK.domain.account.stream.lane.1.7.7.1700000000000000000.0.token",
    ],
)
async def test_a_hidden_message_is_acked_at_its_consumer(receipt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newer servers put a domain and an account before the stream, and a token at the end."""
    signed: list[Any] = []

    async def confirmed(_: object, signs: Any) -> set[str]:
        signed.extend(signs)
        return set()

    async def hidden(*_: object) -> list[Note]:
        return [Note(7, "m", due=1e12)]

    async def receipts(*_: object) -> dict[int, str]:
        return {7: receipt}

    async def erase(*_: object) -> None:
        return None

    monkeypatch.setattr(contents, "confirmed", confirmed)
    records = SimpleNamespace(hidden=hidden, receipts=receipts, erase=erase)
    queue: Any = SimpleNamespace(spec=SimpleNamespace(name="q"), records=records)
    purge = contents.Purging(queue, Any, Any, SystemClock())  # type: ignore[arg-type]
    purge._last = 7
    assert await purge._purge_hidden() == 1
    assert [lane for lane, _, _ in signed] == ["lane"]
