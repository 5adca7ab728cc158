"""Receives of queues with limits and lanes reach rows through their indexes, and what must wait costs them nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from tasuki.contracts.driver import Limit, Outgoing, QueueSpec
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tests.faults.postgres.test_plans import EXPLAINING, Explainer
from tests.support.brokers.postgres import Postgres
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

SPECS: dict[str, dict[str, Any]] = {
    "lanes": {"fair": 1},
    "places": {"fair": 2, "lane_limit": Limit(concurrency=2)},
    "rate": {"fair": 1, "lane_limit": Limit(rate=1e-3, burst=2)},
    "keys": {"fair": 1, "ordering": "key"},
    "gate": {"limit": Limit(rate=1e6, burst=1000, concurrency=1000)},
    "all": {"fair": 3, "limit": Limit(1e6, 1000, 1000), "lane_limit": Limit(1e-3, 2, 1), "max_length": 10**6},
}
RECEIVE = "SELECT seq, token FROM plans.receive('q', 10, 1000000, 0, true, false, true, 1)"
ONE = RECEIVE.replace("10,", "1,", 1)
FEW_STATEMENTS = 10
"""With those that call functions."""
TABLES = {"messages", "lanes", "arrivals", "gates"}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    server = Postgres()
    server.settings = (*server.settings, "autovacuum=off")
    with server:
        yield server


@pytest.fixture(params=SPECS)
async def driver(server: Postgres, request: pytest.FixtureRequest) -> AsyncIterator[PostgresDriver]:
    driver = PostgresDriver("postgres", parsed(PostgresSettings, url=server.url, schema="plans"))
    await driver.open()
    await driver.declare(QueueSpec("q", **SPECS[request.param]))
    yield driver
    await driver.delete("q")
    await driver.close()


@pytest.fixture
async def explainer(server: Postgres, driver: PostgresDriver) -> AsyncIterator[Explainer]:
    connection = await asyncpg.connect(server.url)
    await connection.execute(EXPLAINING)
    explainer = Explainer(connection)
    explainer.tables = TABLES
    yield explainer
    await connection.close()


async def fill(driver: PostgresDriver, lane: str, number: int, **options: Any) -> None:
    for start in range(0, number, 1000):
        ids = range(start, min(start + 1000, number))
        await driver.publish("q", [Outgoing(f"{id}", b"", {}, lane=lane, key=lane or None, **options) for id in ids])


async def every_verb(explainer: Explainer) -> dict[str, list[tuple[str, str, int]]]:
    """The scans of each verb on some messages; ``explainer``'s session has seen the tables when they were empty."""
    scans = {"receive": await explainer.scans(RECEIVE)}
    held = await explainer.connection.fetch(RECEIVE)
    seqs, tokens = [row[0] for row in held if row[0]], [row[1] for row in held if row[0]]
    half = len(seqs) // 2
    settle = "SELECT plans.settle('q', $1, $2, $3, $4, false)"
    scans["release"] = await explainer.scans(settle, seqs[:half], tokens[:half], [2] * half, [0.0] * half)
    scans["ack"] = await explainer.scans(
        "SELECT plans.settle('q', $1, $2, null, null, false)", seqs[half:], tokens[half:]
    )
    scans["publish"] = await explainer.scans(
        "SELECT plans.publish('q', array['x'], array['']::bytea[], array[null]::bytea[], null, array['k'], null, null, "
        "false, array['k'])"
    )
    scans["next"] = await explainer.scans(RECEIVE)
    scans["look"] = await explainer.scans("SELECT * FROM plans.check_queues(array['q'], 0, true, 1)")
    scans["peek"] = await explainer.scans("SELECT * FROM plans.show_places('q', 10, 0)")
    scans["occupancy"] = await explainer.scans("SELECT * FROM plans.occupancies(array['q'])")
    return scans


async def test_the_plans_that_were_made_for_empty_tables_hold_for_a_long_lane(
    driver: PostgresDriver, explainer: Explainer
) -> None:
    await fill(driver, "first", 3)
    await fill(driver, "", 3)
    await every_verb(explainer)  # plans are made, and kept
    await driver.purge("q")
    await fill(driver, "noisy", 20_000)
    await fill(driver, "", 2000)
    await every_verb(explainer)
    await fill(driver, "late", 2)
    for verb, scans in (await every_verb(explainer)).items():
        for index, plan, rows in scans:
            assert not index.startswith("Seq"), f"{verb}: {plan}"
            assert rows <= 200, f"{verb} met {rows} rows: {plan}"


@pytest.mark.parametrize("driver", ["lanes", "places"], indirect=True)
async def test_one_message_takes_few_statements(driver: PostgresDriver, explainer: Explainer) -> None:
    async def claim() -> int:
        """Statements of a receive that takes a message; now and then one takes the long way."""
        counts = []
        for _ in range(5):
            await explainer.scans(ONE)
            counts.append(len(explainer.plans))
        return min(counts)

    await fill(driver, "a", 20)
    await fill(driver, "b", 20)
    await explainer.connection.fetch(ONE)  # folds
    assert await claim() <= FEW_STATEMENTS
    alone = []
    await driver.purge("q")
    await explainer.connection.fetch(ONE)
    for lane in "cdefg":
        await fill(driver, lane, 1)
        await explainer.scans(ONE)
        alone.append(len(explainer.plans))
    assert min(alone) <= FEW_STATEMENTS
