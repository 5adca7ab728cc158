"""A transaction that holds the tables for long, while the schema is to be completed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tasuki.backoff import Backoff
from tasuki.drivers.postgres.schema import schema as completing
from tasuki.errors import BrokerUnavailableError
from tests.support.brokers.postgres import Postgres
from tests.support.brokers.rig import fresh, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

_PUBLISH = "SELECT {}.publish('q', '{{a}}', '{{b}}', '{{NULL}}', NULL, NULL, NULL, NULL, false)"
_WAITS = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted"


class Site:
    """A schema that lacks a function; a transaction that reads its queue and does not end; a role that owns it."""

    def __init__(self, schema: str, sql: asyncpg.Connection, holder: asyncpg.Connection, owner: asyncpg.Connection):
        self.schema = schema
        self.sql = sql
        self.holder = holder
        self.owner = owner
        self.changing: asyncio.Task[None]

    async def prepare(self) -> None:
        role = f"owner_of_{self.schema}"
        database = await self.sql.fetchval("SELECT current_database()")
        await self.sql.execute(f"CREATE ROLE {role}; GRANT CREATE ON DATABASE {database} TO {role}")
        await self.owner.execute(f"SET ROLE {role}")
        await completing.complete(self.owner, self.schema)
        await self.sql.execute(
            f"SELECT {self.schema}.declare_queue('q', 9, NULL, false, NULL, false, NULL, 0, NULL, NULL)"
        )
        await self.sql.execute(f"DROP FUNCTION {self.schema}.occupancies")
        await self.holder.execute(f"BEGIN; SELECT lease FROM {self.schema}.queues")

    def begin(self) -> None:
        self.changing = asyncio.create_task(completing.complete(self.owner, self.schema, "app:db"))

    async def waits(self) -> None:
        await until(lambda: self.sql.fetchval(_WAITS, self.owner.get_server_pid()), "the change waits for the tables")

    async def publish(self) -> None:
        await self.sql.execute(_PUBLISH.format(self.schema))


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    url = Postgres.shared().url
    sql = await asyncpg.connect(url)
    holder = await asyncpg.connect(url, server_settings={"application_name": "a report"})
    owner = await asyncpg.connect(url)
    site = Site(fresh("locked"), sql, holder, owner)
    await site.prepare()
    yield site
    holder.terminate()
    owner.terminate()
    await sql.close()


async def logged(caplog: pytest.LogCaptureFixture) -> str:
    async def there() -> bool:
        return bool(caplog.records)

    await until(there, "a line in the log")
    return caplog.messages[0]


async def test_others_pass_a_change_that_waits_and_the_log_names_what_it_waits_for(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.begin()
    await site.waits()
    await site.publish()  # behind the change, which gives way
    line = await logged(caplog)
    assert line.startswith(f"driver 'app:db': schema '{site.schema}' cannot be completed while its tables are ")
    assert f"in use by process {site.holder.get_server_pid()} (user: " in line
    assert ", application: a report" in line
    assert str(site.sql.get_server_pid()) not in line, "a statement that only waited behind the change is not to blame"
    await site.waits()  # once more
    await site.holder.execute("COMMIT")
    await site.changing
    assert await completing.check(site.owner, site.schema)


async def test_a_change_that_never_gets_its_tables_ends_with_an_error_and_has_changed_nothing(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completing, "ATTEMPTS", 2)
    monkeypatch.setattr(completing, "PAUSES", Backoff(initial_delay=0.0))
    site.begin()
    remedy = r"\); end that transaction \(pg_terminate_backend\) or wait for its end"
    with pytest.raises(BrokerUnavailableError, match=f"process {site.holder.get_server_pid()} .*{remedy}") as caught:
        await site.changing
    assert caught.value.retryable
    assert len(caplog.records) == 1
    await site.owner.execute("ROLLBACK")
    await site.publish()
    assert not await completing.check(site.owner, site.schema)
    await site.holder.execute("COMMIT")
    await completing.complete(site.owner, site.schema)
    assert await completing.check(site.owner, site.schema)


async def test_other_processes_wait_for_the_one_that_changes_and_not_for_the_tables(site: Site) -> None:
    """In its pauses too: so however many start together, one at a time holds up the traffic."""
    other = await asyncpg.connect(Postgres.shared().url)
    site.begin()
    await site.waits()
    second = asyncio.create_task(completing.complete(other, site.schema))
    waiting = "SELECT locktype FROM pg_locks WHERE pid = $1 AND NOT granted"
    await until(lambda: site.sql.fetchval(waiting, other.get_server_pid()), "the second process waits")
    await until(lambda: _is_between_two_waits(site), "the first one pauses")
    assert await site.sql.fetchval(waiting, other.get_server_pid()) == "advisory"
    await site.holder.execute("COMMIT")
    await asyncio.gather(site.changing, second)
    await other.close()


async def _is_between_two_waits(site: Site) -> bool:
    return not await site.sql.fetchval(_WAITS, site.owner.get_server_pid())
