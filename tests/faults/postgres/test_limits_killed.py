"""Places of a lane, over processes that are killed or frozen: never more are held, by the history; nothing stays.

Triggers write the history, so a killed process leaves nothing out: each claim with what it found held, and each ack.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Limit, Nack, Outgoing, QueueSpec, Release
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tests.faults.freezing import FREEZES, IS_CAMPAIGN, freeze_until
from tests.faults.postgres.load import address
from tests.support.brokers.postgres import Postgres
from tests.support.brokers.rig import until
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault, pytest.mark.timeout(1800 if IS_CAMPAIGN else 300)]

PROCESSES, PLACES, LEASE = 3, 3, 1.0
KILLS, MESSAGES, LANES = (66, 6000, 20) if IS_CAMPAIGN else (5, 300, 4)
HISTORY = """
SET search_path = {0};
CREATE TABLE claims (lane text, held integer, id text, token integer, place bigint GENERATED ALWAYS AS IDENTITY);
CREATE TABLE acks (id text, place bigint GENERATED ALWAYS AS IDENTITY);
CREATE FUNCTION note_claim() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {0}.claims (lane, held, id, token)
    SELECT n.place, (
        SELECT count(*) FROM {0}.messages m WHERE m.place = n.place AND m.state = 2 AND m.due > clock_timestamp()
    ), n.id, n.token
    FROM new_rows n JOIN old_rows o ON o.seq = n.seq WHERE n.state = 2 AND o.token <> n.token;
    RETURN NULL;
END $$;
CREATE FUNCTION note_ack() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {0}.acks (id) SELECT id FROM old_rows;
    RETURN NULL;
END $$;
CREATE TRIGGER claimed AFTER UPDATE ON messages REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION note_claim();
CREATE TRIGGER acked AFTER DELETE ON messages REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION note_ack();
RESET search_path;
"""
_spawn = multiprocessing.get_context("spawn")


def work(port: int, schema: str, spec: QueueSpec) -> None:
    """Receive and settle in any way until the end, which comes by a kill."""

    async def run() -> None:
        chance = random.Random(os.getpid())
        driver = PostgresDriver("postgres", parsed(PostgresSettings, url=address(port), schema=schema))
        await driver.declare(spec)
        await driver.open()
        while True:
            got = await driver.receive("q", chance.choice((1, chance.randint(2, 6))), 1.0)
            await asyncio.sleep(0.002)
            await driver.settle("q", [chance.choice((Ack, Ack, Ack, Nack, Release))(item.receipt) for item in got])

    asyncio.run(run())


@pytest.mark.parametrize("fault", ["killed", "frozen"])
@pytest.mark.parametrize("ordering", ["none", "key"])
async def test_no_more_than_its_places_are_held_past_faults(
    server: Postgres,
    make: Callable[..., Awaitable[PostgresDriver]],
    sql: asyncpg.Connection,
    schema: str,
    ordering: Any,
    fault: str,
) -> None:
    chance, strikes = random.Random(7), KILLS if fault == "killed" else FREEZES
    spec = QueueSpec("q", lease=LEASE, fair=1, lane_limit=Limit(concurrency=PLACES), ordering=ordering)
    driver = await make(spec=spec, timeout=10.0)
    await sql.execute(HISTORY.format(schema))
    published = [f"t{number % LANES}-{number}" for number in range(MESSAGES)]
    with ExitStack() as stack:

        def start() -> Any:
            process = _spawn.Process(target=work, args=(server.port, schema, spec), daemon=True)
            process.start()
            stack.callback(process.join)
            stack.callback(process.kill)
            return process

        processes = [start() for _ in range(PROCESSES)]
        for strike in range(strikes):
            first, end = MESSAGES * strike // strikes, MESSAGES * (strike + 1) // strikes
            lanes = [(id, id.partition("-")[0]) for id in published[first:end]]
            await driver.publish("q", [Outgoing(id, b"", {}, lane=lane, key=lane) for id, lane in lanes])
            await until(
                partial(sql.fetchval, f"SELECT count(*) >= {(first + end) // 2} FROM {schema}.acks"), "half of them"
            )
            number = chance.randrange(PROCESSES)
            if fault == "frozen":
                await freeze_until(
                    processes[number].pid, partial(sql.fetchval, f"SELECT count(*) >= {end} FROM {schema}.acks")
                )
                continue
            processes[number].kill()
            processes[number] = start()
        await until(lambda: sql.fetchval(f"SELECT count(*) = {MESSAGES} FROM {schema}.acks"), "all are acked")
    assert await driver.receive("q", 10, 0.0) == []  # it folds the arrivals of the last acks
    claims = await sql.fetch(f"SELECT lane, held, id, token FROM {schema}.claims ORDER BY place")
    held = max(row["held"] for row in claims)
    assert held == (1 if ordering == "key" else PLACES)
    assert max(Counter((row["id"], row["token"]) for row in claims).values()) == 1, "one delivery was given twice"
    acks = [row[0] for row in await sql.fetch(f"SELECT id FROM {schema}.acks ORDER BY place")]
    assert sorted(acks) == sorted(published)
    if ordering == "key":
        for lane in {id.partition("-")[0] for id in published}:
            assert [id for id in acks if id.startswith(f"{lane}-")] == [
                id for id in published if id.startswith(f"{lane}-")
            ]
    for table in ("lanes", "arrivals", "messages"):
        assert await sql.fetchval(f"SELECT count(*) FROM {schema}.{table}") == 0, table
