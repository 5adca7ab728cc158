"""PgQueuer with asyncpg. Best: batches of 100."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from tests.compare.role import IS_BEST, URL, Body, Peer, Ways, handle, main


@asynccontextmanager
async def consumer() -> AsyncIterator[PgQueuer]:
    pgq = PgQueuer(AsyncpgDriver(await asyncpg.connect(URL)))

    @pgq.entrypoint("job")
    async def job(job: Job) -> None:
        if handle(json.loads(job.payload)):
            await asyncio.sleep(60)

    yield pgq


def worker() -> list[str]:
    best = ["--batch-size", "100"] if IS_BEST else []
    return ["pgq", "run", "tests.compare.peers.pgqueuer:consumer", *best]


async def setup() -> None:
    """Create its tables."""
    connection = await asyncpg.connect(URL)
    await Queries(AsyncpgDriver(connection)).install()
    await connection.close()


@asynccontextmanager
async def awaited() -> AsyncIterator[Ways]:
    connection = await asyncpg.connect(URL)
    queries = Queries(AsyncpgDriver(connection))

    def many(bodies: Sequence[Body]) -> Any:
        count = len(bodies)
        return queries.enqueue(["job"] * count, [json.dumps(body).encode() for body in bodies], [0] * count)

    # One connection takes one statement at a time: a hundred callers wait for each other.
    yield Ways(lambda body: queries.enqueue("job", json.dumps(body).encode()), many)
    await connection.close()


if __name__ == "__main__":
    main(Peer(worker, awaited=awaited, setup=setup))
