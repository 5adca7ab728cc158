"""Queues, handlers and tasks with names of any language work on every driver."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tasuki import App
from tests.support.brokers.everywhere import DRIVERS, overrides

pytestmark = pytest.mark.anyio


def make(folder: Path, driver: str, seen: list[Any]) -> App:
    app = App("memory://", namespace="店", root=folder, overrides=overrides(driver, "店:driver", folder))
    mark = uuid4().hex[:8]
    orders = app.queue("注文", queue_name=f"注文_{mark}", dead_letter="注文.dead")
    app.queue("注文.dead", queue_name=f"注文.dead_{mark}")
    jobs = app.queue("größe", queue_name=f"größe_{mark}", dead_letter=None)

    @orders.consumer
    def 処理(body: int) -> None:  # noqa: PLC2401
        seen.append(("処理", body))
        if body < 0:
            raise ValueError("負")

    @jobs.task
    def 送信(number: int) -> None:  # noqa: PLC2401
        seen.append(("送信", number))

    @jobs.task
    def 受信(number: int) -> None:  # noqa: PLC2401
        seen.append(("受信", number))

    return app


@pytest.mark.parametrize("driver", DRIVERS)
async def test_they_are_published_handled_and_counted(driver: str, tmp_path: Path) -> None:
    seen: list[Any] = []
    app = make(tmp_path, driver, seen)
    async with app.worker():
        await app.publish("注文", 1)
        await app.publish("größe", {"number": 2}, {"message_type": "送信"})
        await app.publish("店:größe", {"number": 3}, {"message_type": "受信"})
        async with asyncio.timeout(60):
            while len(seen) < 3:
                await asyncio.sleep(0.01)
        assert sorted(seen) == [("処理", 1), ("受信", 3), ("送信", 2)]
        async with asyncio.timeout(60):
            while (depth := await app._runtime.queue("größe").depth()).ready + (depth.in_flight or 0):
                await asyncio.sleep(0.05)
        assert set(app._runtime.live().consumers) == {"店:処理.consumer", "店:größe.workers"}
