"""The verbs of a store reach rows through their indexes, by plans that were made for empty tables."""

from __future__ import annotations

import pytest

from tasuki.drivers.postgres.driver import PostgresDriver
from tests.faults.postgres.test_plans import Explainer, driver, explainer, server

__all__ = ["driver", "explainer", "server"]

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

TABLES = {"store_entries", "store_changes", "store_buckets", "store_places"}
FILL = (
    "INSERT INTO plans.store_entries (store, key, value, version, expires) SELECT s, lpad(n::text, 6, '0'), 'v', n, "
    "CASE WHEN n % 2 = 0 THEN extract(epoch FROM clock_timestamp()) + 1000 + n END "
    "FROM generate_series(1, 10000) n, unnest(array['a', 'b']) s",
    "INSERT INTO plans.store_changes (store, key, version, at) SELECT 'a', n::text, 1, "
    "extract(epoch FROM clock_timestamp()) FROM generate_series(1, 10000) n",
    "INSERT INTO plans.store_buckets (store, key, level, at, rate, burst, top) SELECT 'a', n::text, 0, "
    "extract(epoch FROM clock_timestamp()), 1e-6, 1, 1 FROM generate_series(1, 10000) n",
    "INSERT INTO plans.store_places (store, key, holder, until) SELECT 'a', n::text, 'h', "
    "extract(epoch FROM clock_timestamp()) + 1000 FROM generate_series(1, 10000) n",
)


async def empty(explainer: Explainer) -> None:
    explainer.tables = TABLES
    await explainer.connection.execute("; ".join(f"TRUNCATE plans.{table}" for table in TABLES))


async def every_verb(explainer: Explainer) -> dict[str, list[tuple[str, str, int]]]:
    """The scans of each verb on a few rows."""
    head = "SELECT head FROM plans.store_watch('a', array[''], array['0'], NULL) WHERE head IS NOT NULL"
    since = await explainer.connection.fetchval(head)
    version = await explainer.connection.fetchval("SELECT plans.store_put('a', '000100', 'v', 60, NULL)")
    verbs = {
        "get": "SELECT * FROM plans.store_get('a', '000100')",
        "put": f"SELECT plans.store_put('a', '000100', 'w', 60, {version})",
        "delete": "SELECT plans.store_delete('a', '000101', NULL)",
        "list": "SELECT * FROM plans.store_list('a', '005000', '~', 100, 1000000)",
        "watch": f"SELECT * FROM plans.store_watch('a', array['0000', '0070'], array['0001', '0071'], '{since}')",
        "take": "SELECT * FROM plans.store_take('a', '100', 1, 0, 10, 10)",
        "hold": "SELECT plans.store_hold('a', '100', 'other', 2, 10)",
        "release": "SELECT plans.store_release('a', '100', 'other')",
    }
    return {verb: await explainer.scans(sql) for verb, sql in verbs.items()}


async def test_the_plans_that_were_made_for_empty_tables_hold_for_full_ones(
    driver: PostgresDriver, explainer: Explainer
) -> None:
    await empty(explainer)
    await every_verb(explainer)  # plans are made, and kept
    for sql in FILL:
        await explainer.connection.execute(f"{sql} ON CONFLICT DO NOTHING")
    scans = await every_verb(explainer)
    assert all(scans.values())
    for verb, found in scans.items():
        for index, plan, rows in found:
            assert not index.startswith("Seq"), f"{verb}: {plan}"
            assert rows <= 110, f"{verb} met {rows} rows: {plan}"


async def test_all_entries_of_a_prefix_are_read_by_its_index(driver: PostgresDriver, explainer: Explainer) -> None:
    await empty(explainer)
    sql = "SELECT * FROM plans.store_watch('a', array['0000', '0070'], array['0001', '0071'], NULL)"
    await explainer.scans(sql)
    await explainer.connection.execute(FILL[0])
    scans = await explainer.scans(sql)
    assert {index for index, _, _ in scans} == {"store_entries_pkey"}
    assert max(rows for _, _, rows in scans) <= 300
