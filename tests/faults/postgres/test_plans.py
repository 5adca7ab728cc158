"""The statements reach rows through their indexes at any size, also where vacuum can remove nothing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import asyncpg
import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tests.support.brokers.postgres import Postgres
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

EXPLAINING = "; ".join(
    [
        "LOAD 'auto_explain'",
        "SET auto_explain.log_min_duration = 0",
        "SET auto_explain.log_nested_statements = on",
        "SET auto_explain.log_analyze = on",
        "SET auto_explain.log_timing = off",
        "SET client_min_messages = log",
    ]
)
_SCAN = re.compile(r"(Seq Scan on|Index (?:Only )?Scan using (\S+) on) (\w+).*?actual rows=(\d+) loops=(\d+)")
_REMOVED = re.compile(r"Rows Removed by Filter: (\d+)")


class Explainer:
    """A connection whose plans are collected, with the rows that they met."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.plans: list[str] = []
        self.tables = {"messages"}
        connection.add_log_listener(lambda _, message: self.plans.append(message.message))

    async def scans(self, sql: str, *arguments: Any) -> list[tuple[str, str, int]]:
        """How a statement, with all in its functions, reached the tables: index or ``seq``, and rows in all."""
        self.plans.clear()
        await self.connection.fetch(sql, *arguments)
        found = []
        for plan in self.plans:
            for kind, index, table, rows, loops in _SCAN.findall(plan):
                if table in self.tables:
                    found.append((index or kind, plan, int(rows) * int(loops)))
            found += [("removed", plan, int(removed)) for removed in _REMOVED.findall(plan)]
        return found


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    server = Postgres()
    server.settings = (*server.settings, "autovacuum=off")
    with server:
        yield server


@pytest.fixture
async def driver(server: Postgres) -> AsyncIterator[PostgresDriver]:
    driver = PostgresDriver(
        "postgres",
        parsed(PostgresSettings, url=server.url, schema="plans"),
    )
    await driver.open()
    for spec in (
        QueueSpec("q"),
        QueueSpec("keys", ordering="key"),
        QueueSpec("bounded", max_length=10**9, dedup_window=600.0),
    ):
        await driver.declare(spec)
        await driver.delete(spec.name)  # messages that an earlier test holds become ready at any time
        await driver.declare(spec)
    yield driver
    await driver.close()


@pytest.fixture
async def explainer(server: Postgres, driver: PostgresDriver) -> AsyncIterator[Explainer]:
    connection = await asyncpg.connect(server.url)
    await connection.execute(EXPLAINING)
    yield Explainer(connection)
    await connection.close()


async def fill(driver: PostgresDriver, queue: str, number: int, **options: Any) -> None:
    for start in range(0, number, 1000):
        ids = range(start, min(start + 1000, number))
        await driver.publish(queue, [Outgoing(f"{id}", b"body", {}, **options) for id in ids])


async def every_verb(explainer: Explainer, queue: str) -> dict[str, list[tuple[str, str, int]]]:
    """The scans of each verb on ten messages; ``explainer``'s session has seen the table when it was empty."""
    claim = "SELECT seq, token FROM plans.receive($1, 10, 1000000, 0, true, false, true, 1)"
    scans = {"claim": await explainer.scans(claim, queue)}
    held = await explainer.connection.fetch(claim, queue)
    seqs, tokens = [row[0] for row in held], [row[1] for row in held]
    scans["extend"] = await explainer.scans("SELECT plans.extend($1, $2, $3, 30)", queue, seqs, tokens)
    half = len(seqs) // 2
    scans["nack"] = await explainer.scans(
        "SELECT plans.settle_with_errors($1, $2, $3, $4, $5, $6)",
        queue,
        seqs[:half],
        tokens[:half],
        [1] * half,
        [0.0] * half,
        [b"why"] * half,
    )
    scans["ack"] = await explainer.scans(
        "SELECT plans.settle($1, $2, $3, null, null, false)", queue, seqs[half:], tokens[half:]
    )
    scans["publish"] = await explainer.scans(
        "SELECT plans.publish($1, array['x'], array['']::bytea[], array[null]::bytea[], null, null, null, null, false)",
        queue,
    )
    scans["publish unique"] = await explainer.scans(
        "SELECT plans.publish_unique($1, array['u', 'v'], array['', '']::bytea[], array[null, null]::bytea[], "
        "null, null, null, null, false, array['1', '2'], array[-1, 60]::double precision[], array[1, 0]::smallint[], "
        "array[0, 0]::double precision[])",
        queue,
    )
    scans["peek"] = await explainer.scans("SELECT * FROM plans.show_places($1, 10, 0)", queue)
    return scans


@pytest.mark.parametrize("queue", ["q", "keys", "bounded"])
async def test_the_plans_that_were_made_for_empty_tables_hold_for_full_ones(
    driver: PostgresDriver, explainer: Explainer, queue: str
) -> None:
    await every_verb(explainer, queue)  # plans are made, and kept
    await fill(driver, queue, 20_000, **({"key": "k"} if queue == "keys" else {}))
    # A queue by key moves what it looks at behind its front, up to some thousands at once.
    await every_verb(explainer, queue)
    for verb, scans in (await every_verb(explainer, queue)).items():
        for index, plan, rows in scans:
            assert not index.startswith("Seq"), f"{verb}: {plan}"
            assert rows <= (3000 if queue == "keys" else 200), f"{verb} met {rows} rows: {plan}"


async def test_a_foreign_transaction_that_stays_open_costs_no_plan(
    server: Postgres, driver: PostgresDriver, explainer: Explainer
) -> None:
    foreign = await asyncpg.connect(server.url)
    try:
        async with foreign.transaction(isolation="repeatable_read"):
            await foreign.fetch("SELECT 1")
            await foreign.fetch("SELECT count(*) FROM pg_class")
            for _ in range(20):
                await fill(driver, "q", 1000)
                got = await driver.receive("q", 1000, 5.0)
                await driver.settle("q", [Ack(item.receipt) for item in got])
            await fill(driver, "q", 100)
            for verb, scans in (await every_verb(explainer, "q")).items():
                for index, plan, rows in scans:
                    assert not index.startswith("Seq"), f"{verb}: {plan}"
                    assert rows <= 200, f"{verb} met {rows} rows: {plan}"
    finally:
        await foreign.close()


async def test_the_oldest_of_each_priority_is_found_by_the_index(driver: PostgresDriver, explainer: Explainer) -> None:
    await fill(driver, "q", 5000, priority=3)
    await explainer.connection.execute("ANALYZE plans.messages")
    scans = await explainer.scans("SELECT * FROM plans.count_messages('q')")
    assert [rows for _, _, rows in scans if rows > 100] == [5000]  # the count alone
    assert {index for index, _, _ in scans} <= {"messages_ready", "messages_due"}


async def test_a_claim_reads_the_line_by_its_index(driver: PostgresDriver, explainer: Explainer) -> None:
    await fill(driver, "q", 2000)
    scans = await explainer.scans("SELECT seq FROM plans.receive('q', 10, 1000000, 0, true, false, true, 1)")
    assert {index for index, _, _ in scans} >= {"messages_ready", "messages_pkey", "messages_due"}


async def test_delayed_and_held_messages_are_not_looked_at(driver: PostgresDriver, explainer: Explainer) -> None:
    await fill(driver, "q", 5000, delay=3600.0)
    await fill(driver, "q", 3000)
    while got := await driver.receive("q", 1000, 0.0):
        await driver.settle("q", [Nack(item.receipt, 3600.0) for item in got[:500]])
    await fill(driver, "q", 5)
    scans = await explainer.scans("SELECT seq FROM plans.receive('q', 10, 1000000, 0, true, false, true, 1)")
    assert max(rows for _, _, rows in scans) <= 10


@pytest.mark.parametrize("statistics", ["of an empty table", "of one long line", "of other queues"])
async def test_order_per_key_reads_its_keys_whatever_the_statistics_say(
    driver: PostgresDriver, explainer: Explainer, statistics: str
) -> None:
    """They were made while the table looked different, and the plans after that: a new session has none."""
    if statistics == "of one long line":
        await fill(driver, "keys", 3000, key="k")
        await driver.receive("keys", 1, 5.0)
        assert await driver.receive("keys", 1, 0.0) == []  # moves the others behind
    elif statistics == "of other queues":
        await fill(driver, "q", 3000)
    await explainer.connection.execute("ANALYZE plans.messages")
    await driver.purge("keys")
    await driver.purge("q")
    for start in range(0, 20_000, 1000):
        numbers = range(start, start + 1000)
        await driver.publish("keys", [Outgoing(f"{number}", b"", {}, key=f"{number}") for number in numbers])
    await fill(driver, "keys", 2000, key="last", delay=3600.0)
    for verb, scans in (await every_verb(explainer, "keys")).items():
        for index, plan, rows in scans:
            assert not index.startswith("Seq"), f"{verb}: {plan}"
            assert rows <= 100, f"{verb} met {rows} rows: {plan}"


async def test_a_receive_judges_what_it_hands_out_and_not_what_others_take_just_now(
    server: Postgres, driver: PostgresDriver, explainer: Explainer
) -> None:
    receive = "SELECT seq, token FROM plans.receive('judged', $1, 1000000, 0, false, false, true, 1)"
    await driver.declare(QueueSpec("judged", ordering="key"))
    await driver.publish("judged", [Outgoing(f"{number}", b"", {}, key=f"{number}") for number in range(300)])
    other = await asyncpg.connect(server.url)
    try:
        async with other.transaction():
            assert len(await other.fetch(receive, 100)) == 100
            scans = await explainer.scans(receive, 10)
            judged = sum(rows for index, _, rows in scans if index == "messages_keys")
            assert judged == 20, "each when it is met, and once more when its key is locked"
    finally:
        await other.close()
    await driver.delete("judged")


async def test_a_settle_asks_what_is_ready_only_for_those_that_wait(
    driver: PostgresDriver, explainer: Explainer
) -> None:
    await driver.declare(QueueSpec("settled", ordering="key"))
    await driver.publish("settled", [Outgoing(f"{number}", b"", {}, key=f"{number % 10}") for number in range(20)])
    receive = "SELECT seq, token FROM plans.receive('settled', 10, 1000000, 0, false, false, true, 1)"
    settle = "SELECT plans.settle('settled', $1, $2, null, null, false)"
    found = []
    for waiting in (0, 1):
        await explainer.connection.execute(
            "INSERT INTO plans.waiters (queue, holder, until, hears) "
            "SELECT id, 1, now() + interval '1 hour', true FROM plans.queues WHERE name = 'settled' AND $1 = 1",
            waiting,
        )
        held = await explainer.connection.fetch(receive)
        scans = await explainer.scans(settle, [row[0] for row in held], [row[1] for row in held])
        found.append(sum(index == "messages_keys" for index, _, _ in scans))
    await driver.delete("settled")
    assert found == [0, 1]


@pytest.mark.parametrize("options", [{}, {"delay": 3600.0}], ids=["ready", "delayed"])
async def test_many_messages_are_estimated(
    driver: PostgresDriver, explainer: Explainer, options: dict[str, Any]
) -> None:
    for start in range(0, 60_000, 1000):
        numbers = range(start, start + 1000)
        await driver.publish("q", [Outgoing(f"{number}", b"x" * 1000, {}, **options) for number in numbers])
    depth = await driver.depth("q")
    assert depth.is_estimate
    assert (depth.delayed if options else depth.ready) == pytest.approx(60_000, rel=0.25)
    assert (depth.ready if options else depth.delayed) == 0
    assert (depth.oldest_age is None) == bool(options)
    scans = await explainer.scans("SELECT * FROM plans.count_messages('q')")
    assert max(rows for _, _, rows in scans) <= 10_000
    await driver.purge("q")
    await driver.publish("q", [Outgoing("last", b"", {})])
    depth = await driver.depth("q")
    assert (depth.ready, depth.delayed, depth.is_estimate) == (1, 0, False)


@pytest.mark.parametrize("ordering", ["none", "key"])
async def test_whether_there_is_a_message_is_answered_by_the_first_ones(
    driver: PostgresDriver, explainer: Explainer, ordering: Literal["none", "key"]
) -> None:
    queue = f"ordered by {ordering}"
    key = {"key": "k"} if ordering == "key" else {}
    await driver.declare(QueueSpec(queue, ordering=ordering))
    await fill(driver, queue, 3000, **key)
    assert len(await driver.receive(queue, 1, 5.0)) == 1
    await driver.receive(queue, 1, 0.0)  # moves the others behind
    await fill(driver, queue, 2000, delay=3600.0, **key)
    scans = await explainer.scans("SELECT * FROM plans.occupancies(ARRAY[$1::text])", queue)
    assert scans
    for index, plan, rows in scans:
        assert not index.startswith("Seq"), plan
        assert rows <= 10, plan
    await driver.delete(queue)


async def test_causes_are_counted_and_shown_by_their_index(driver: PostgresDriver, explainer: Explainer) -> None:
    count = "SELECT * FROM plans.count_causes('q', 2, array[]::text[], 3600, 12, 3)"
    show = "SELECT * FROM plans.show_cause('q', $1, 10, 20, $2)"
    causes = [f"{number:012x}" for number in range(3)]
    for sql, arguments in ((count, ()), (show, (causes[0], True)), (show, (causes[0], False))):
        await explainer.scans(sql, *arguments)  # plans are made, and kept
    for start in range(0, 6000, 1000):
        letters = [Outgoing(f"{id}", b"", {"x_cause": causes[id % 3]}) for id in range(start, start + 1000)]
        await driver.publish("q", letters)
    for _ in range(2):
        scans = await explainer.scans(count)
        assert {index for index, _, rows in scans if rows > 100} == {"messages_causes", "messages_ready"}
        assert [rows for index, _, rows in scans if index == "messages_causes" and rows > 5000] == [6000]
        assert not [index for index, _, _ in scans if index.startswith("Seq")]
    for newest_first in (True, False):
        for _, plan, rows in await explainer.scans(show, causes[1], newest_first):
            assert rows <= 30, plan
    explainer.plans.clear()
    await fill(driver, "q", 10)
    found = await driver.causes("q", 10)
    assert (found.marked, found.unmarked) == (6000, 10)
