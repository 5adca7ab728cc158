"""What needs no server: names, secrets, and a driver that was not opened."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.errors import BrokerUnavailableError, DriverError
from tasuki.kinds.kind import find_kind
from tests.support.settings import parsed

pytestmark = pytest.mark.anyio

URL = "postgresql://user:hidden@127.0.0.1:1/database"


@pytest.mark.parametrize("name", ["tasuki", "_a", "a1_b", "x" * 40])
def test_names_of_schemas(name: str) -> None:
    assert parsed(PostgresSettings, url=URL, schema=name).schema_ == name


@pytest.mark.parametrize("name", ["", "1a", "A", "a-b", 'a"b', "a;b", "x" * 41, "ä"])
def test_names_that_would_need_quotes_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="schema"):
        parsed(PostgresSettings, url=URL, schema=name)


def test_the_client_is_missed_at_the_construction_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    assert PostgresDriver.capabilities.has("publish_within")
    with pytest.raises(ImportError):
        PostgresDriver("driver", parsed(PostgresSettings, url=URL))


async def test_no_server_is_there_and_no_secret_is_shown() -> None:
    driver = PostgresDriver("driver", parsed(PostgresSettings, url=URL))
    await driver.declare(QueueSpec("q"))
    with pytest.raises(BrokerUnavailableError) as raised:
        await driver.open()
    assert "hidden" not in str(raised.value)
    assert "127.0.0.1:1/database" in str(raised.value)
    assert "hidden" not in repr(driver)
    assert driver.durability == "node"
    with pytest.raises(BrokerUnavailableError, match="not open"):
        await driver.publish("q", [Outgoing("a", b"", {})])
    await driver.close()


async def test_files_of_tls_that_cannot_be_used(tmp_path: Path) -> None:
    driver = PostgresDriver(
        "driver", parsed(PostgresSettings, url=URL, tls={"enabled": True, "ca": str(tmp_path / "missing.pem")})
    )
    with pytest.raises(DriverError, match="tls of driver"):
        await driver.open()


def test_the_entry_hides_its_address_and_knows_its_schema() -> None:
    model = find_kind("queue.driver.postgres").model
    config = model.model_validate({"url": URL, "schema": "mine", "pool_size": 3, "timeout": "2s"})
    assert "hidden" not in repr(config)
    fields = config.model_dump(by_alias=True)
    assert (fields["schema"], fields["pool_size"], fields["timeout"]) == ("mine", 3, 2.0)


@pytest.mark.parametrize(
    "fields",
    [{"url": ""}, {"url": "mysql://user:hidden@x"}, {"url": 5}, {"url": URL, "schema": "No"}, {"url": URL, "tls": 1}],
)
def test_entries_that_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error") as raised:
        find_kind("queue.driver.postgres").model.model_validate(fields)
    assert all("hidden" not in str(error["msg"]) for error in raised.value.errors())  # type: ignore[attr-defined]
