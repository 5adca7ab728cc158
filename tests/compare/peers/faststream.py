"""FastStream. Durable queues and persistent messages, acked after the handler; best: a prefetch of 100, no log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from faststream import AckPolicy, FastStream

from tests.compare.role import BROKER, IS_BEST, QUEUE, URL, Body, Peer, Ways, handle, main


async def job(body: Body) -> None:
    if handle(body):
        await asyncio.sleep(60)


def _rabbit() -> tuple[Any, dict[str, Any]]:
    from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

    broker = RabbitBroker(URL, default_channel=Channel(prefetch_count=100 if IS_BEST else None), **_quiet())
    broker.subscriber(RabbitQueue(QUEUE, durable=True), ack_policy=AckPolicy.REJECT_ON_ERROR)(job)
    return broker, {"queue": QUEUE, "persist": True}


def _nats() -> tuple[Any, dict[str, Any]]:
    from faststream.nats import JStream, NatsBroker

    broker = NatsBroker(URL, **_quiet())
    options = {"durable": QUEUE, "stream": JStream(QUEUE, subjects=[f"{QUEUE}.>"]), "deliver_policy": "all"}
    options["max_workers"] = 100 if IS_BEST else 1
    broker.subscriber(f"{QUEUE}.job", ack_policy=AckPolicy.REJECT_ON_ERROR, **options)(job)
    return broker, {"subject": f"{QUEUE}.job", "stream": QUEUE}


def _redis() -> tuple[Any, dict[str, Any]]:
    from faststream.redis import RedisBroker, StreamSub

    broker = RedisBroker(URL, **_quiet())
    stream = StreamSub(QUEUE, group="workers", consumer="one", last_id=">", max_records=100 if IS_BEST else None)
    broker.subscriber(stream=stream, ack_policy=AckPolicy.REJECT_ON_ERROR)(job)
    return broker, {"stream": QUEUE}


def _quiet() -> dict[str, Any]:
    return {"logger": None} if IS_BEST else {}


broker, target = {"amqp": _rabbit, "nats": _nats, "redis": _redis}[BROKER]()
app = FastStream(broker, logger=None)


def worker() -> list[str]:
    return ["faststream", "run", "tests.compare.peers.faststream:app", "--log-level", "error"]


async def setup() -> None:
    """Declare the queue: messages that are published before the first worker would be lost."""
    async with broker:
        await broker.start()


@asynccontextmanager
async def awaited() -> AsyncIterator[Ways]:
    await broker.connect()
    yield Ways(lambda body: broker.publish(body, **target))
    await broker.stop()


if __name__ == "__main__":
    main(Peer(worker, awaited=awaited, setup=setup))
