"""Health over faults at each driver: red within 15 seconds, green within 5 after, by the observations of the worker."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from tasuki.consumers.fetching.fetcher import Fetcher
from tasuki.testing.proxy import Proxy
from tests.faults.health_rig import proxied, texts, worker
from tests.support.brokers.everywhere import DRIVERS
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.narrow import present

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(240)]

NETWORKED = [driver for driver in DRIVERS if driver not in ("memory", "sqlite")]
LEASED = [driver for driver in DRIVERS if driver != "memory"]
KNOWS = {"nats", "amqp"}
"""Their drivers end a connection that answers nothing themselves, and so know that the broker is unavailable."""
MAY_KNOW = {*KNOWS, "postgres"}
"""Its receive may time out before the health notices the silence, which then says that the broker is unavailable."""


@pytest.mark.parametrize("driver", NETWORKED)
async def test_a_connection_that_looks_open_and_answers_nothing(driver: str, tmp_path: Path) -> None:
    with proxied(driver, tmp_path) as (changes, proxy):
        assert isinstance(proxy, Proxy)
        async with worker(changes, tmp_path) as worked:
            proxy.silence()
            found = await worked.red("ready" if driver in MAY_KNOW else "live")
            is_away = driver in KNOWS or (driver in MAY_KNOW and found["live"])
            assert texts(found, "not_ready" if is_away else "not_live").startswith("consumer app:work.consumer:")
            proxy.serve()
            await worked.green()


@pytest.mark.parametrize("driver", NETWORKED)
async def test_a_broker_that_is_away_is_no_reason_to_restart(driver: str, tmp_path: Path) -> None:
    with proxied(driver, tmp_path) as (changes, proxy):
        assert isinstance(proxy, Proxy)
        async with worker(changes, tmp_path) as worked:
            proxy.refuse()
            found = await worked.red("ready")
            assert found["live"], found
            proxy.serve()
            await worked.green()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_consumer_that_has_silently_gone(
    driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waiting, back = asyncio.Event(), asyncio.Event()
    receive = Fetcher.run

    async def gone(self: Fetcher) -> None:
        waiting.set()
        await back.wait()  # no error, no message: as if the broker had forgotten the consumer
        await receive(self)

    with proxied(driver, tmp_path) as (changes, _):
        async with worker(changes, tmp_path) as worked:
            consumer = present(worked.app._runtime.assembly).consumers["app:work.consumer"]
            monkeypatch.setattr(Fetcher, "run", gone)
            controlled = present(consumer.run).controlled
            present(present(controlled)._receiving if controlled else present(consumer.run).fetching).cancel()
            await asyncio.wait_for(waiting.wait(), 60)
            await worked.queue.publish(1)
            found = await worked.red()
            assert "messages are ready, 2 free places, nothing received" in texts(found, "not_live")
            assert "the newest events of app:work.consumer:" in caplog.text
            back.set()
            await worked.green()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_blocked_event_loop(driver: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    free, told = threading.Event(), list[dict[str, Any]]()

    async def block(body: int) -> None:
        if body == 1:
            free.wait(60)

    with proxied(driver, tmp_path) as (changes, _):
        async with worker(changes, tmp_path, block) as worked:

            def watch() -> None:
                while (found := worked.app.health.report().as_dict())["live"] and not free.wait(0.05):
                    pass
                told.append(found)
                free.set()

            watcher = threading.Thread(target=watch)
            watcher.start()
            before = worked.looks
            await worked.queue.publish(1)
            await worked.until(lambda health: bool(told), "red")
            watcher.join()
            assert (worked.looks - before) * 2 <= 15
            assert "by the handler app:work (message" in texts(told[0], "not_live")
            assert "the event loop is blocked by the handler app:work" in caplog.text
            await worked.green()


@pytest.mark.parametrize("driver", LEASED)
async def test_a_thread_that_renews_no_leases(driver: str, tmp_path: Path) -> None:
    free, end = threading.Event(), asyncio.Event()

    async def hold(body: int) -> None:
        if body == 1:
            await end.wait()

    with proxied(driver, tmp_path) as (changes, _):
        async with worker(changes, tmp_path, hold) as worked:
            await worked.handled(1)
            thread = present(worked.app._runtime.keeper._thread)
            assert thread.tell(lambda: free.wait(60))
            found = await worked.red()
            assert "leases: no leases are renewed for" in texts(found, "not_live")
            free.set()
            await worked.green()
            end.set()


async def test_a_memory_alarm_of_rabbitmq(tmp_path: Path) -> None:
    broker = RabbitMQ.shared()
    with proxied("amqp", tmp_path) as (changes, _):
        async with worker(changes, tmp_path) as worked:
            await asyncio.to_thread(broker.control, "set_vm_memory_high_watermark", "0")
            try:
                publishing = asyncio.create_task(worked.queue.publish(1))  # RabbitMQ tells those that publish
                found = await worked.red("ready")
                assert found["live"], found
                assert "driver app:driver: the broker takes no messages: RabbitMQ blocks publishing" in texts(
                    found, "not_ready"
                )
            finally:
                await asyncio.to_thread(broker.control, "set_vm_memory_high_watermark", "absolute", "4GB")
            await asyncio.wait([publishing])
            publishing.exception()
            await worked.green()
