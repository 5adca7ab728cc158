"""repid. Streams of Redis, reclaimed after a minute, best: 100 messages a read; JetStream."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from repid import NatsServer, RedisServer, Repid, Router

from tests.compare.role import BROKER, IS_BEST, QUEUE, URL, Body, Peer, Ways, handle, main

servers: dict[str, Any] = {
    "redis": lambda: RedisServer(URL, claim_interval=1.0, batch_size=100 if IS_BEST else 10),
    "nats": lambda: NatsServer(URL),
}
app, router = Repid(), Router()
app.servers.register_server("default", servers[BROKER](), is_default=True)


@router.actor(channel=QUEUE)
async def job(**body: Any) -> None:
    if handle(body):
        await asyncio.sleep(60)


app.include_router(router)


async def serve() -> None:
    async with app.servers.default.connection():
        await app.run_worker(tasks_limit=100 if IS_BEST else 1000)


async def setup() -> None:
    """Make the stream of NATS."""
    if BROKER == "nats":
        import nats

        client = await nats.connect(URL)
        await client.jetstream().add_stream(name=QUEUE, subjects=[QUEUE, f"repid_{QUEUE}_dlq"])
        await client.close()


@asynccontextmanager
async def awaited() -> AsyncIterator[Ways]:
    def one(body: Body) -> Any:
        return app.send_message(channel=QUEUE, payload=json.dumps(body).encode(), headers={"topic": "job"})

    async with app.servers.default.connection():
        yield Ways(one)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        import uvloop

        uvloop.run(serve())
    else:
        main(Peer(lambda: ["python", "-m", "tests.compare.peers.repid", "serve"], awaited=awaited, setup=setup))
