"""Where an address says nothing about encryption, it is required beyond loopback."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest

from tasuki.drivers.postgres.connections import REMEDY, encryption
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.errors import AccessDeniedError, DriverError
from tasuki.fields.types import TlsConfig
from tests.support.settings import parsed

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("url", "environ", "argument"),
    [
        ("postgresql://me:word@db.example/app?sslmode=disable", {}, None),
        ("postgresql://me:word@db.example/app?sslmode=verify-full", {}, None),
        ("postgresql://db.example", {"PGSSLMODE": "prefer"}, None),
        ("postgresql:///?service=mine", {"PGHOST": "db.example"}, None),
        ("postgresql:///", {"PGHOST": "db.example", "PGSERVICE": "mine"}, None),
        ("postgresql://localhost:5432", {}, None),
        ("postgresql://me:word@127.0.0.2,[::1]:5433/app", {}, None),
        ("postgresql://%2Frun%2Fpostgresql/app", {}, None),
        ("postgresql:///app?host=/run/postgresql", {}, None),
        ("postgresql:///app", {"PGHOST": "/run/postgresql"}, None),
        ("postgresql:///app", {}, None),
        ("postgresql://localhost", {"PGHOST": "db.example"}, None),
    ],
)
def test_encryption_by_the_address(url: str, environ: Mapping[str, str], argument: str | None) -> None:
    assert encryption("app:pg", url, None, environ) == argument


@pytest.mark.parametrize(
    ("url", "environ"),
    [
        ("postgresql://me:word@db.example/app", {}),
        ("postgresql://me:word@10.0.0.5:5432/app", {}),
        ("postgresql://me:word@[2001:db8::1]:5432/app", {}),
        ("postgresql://me:word@localhost,db.example/app", {}),
        ("postgresql://me:word@localhost.example/app", {}),
        ("postgresql:///app?host=db.example", {}),
        ("postgresql:///app", {"PGHOST": "db.example"}),
        ("postgresql://db.example", {"PGSSLMODE": "", "PGSERVICE": ""}),
        ("postgresql://db.example?sslrootcert=system", {}),
    ],
)
def test_beyond_loopback_the_server_is_verified(url: str, environ: Mapping[str, str], tmp_path: Path) -> None:
    context = encryption("app:pg", url, None, {**environ, "HOME": str(tmp_path)})
    assert isinstance(context, ssl.SSLContext)
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED


def test_the_authorities_of_libpq_count_where_there_are_some(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert encryption("app:pg", "postgresql://db.example?sslrootcert=x.pem", None, home) == "verify-full"
    assert encryption("app:pg", "postgresql://db.example", None, home | {"PGSSLROOTCERT": "x"}) == "verify-full"
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").touch()
    assert encryption("app:pg", "postgresql://db.example", None, home) == "verify-full"


def test_a_certificate_of_the_client_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    address = "postgresql://db.example?sslcert=/nowhere/a.pem&sslkey=/nowhere/a.key"
    with pytest.raises(DriverError, match="a file cannot be used"):
        encryption("app:pg", address, None, {"HOME": str(tmp_path)})


def test_encryption_by_the_entry() -> None:
    assert encryption("app:pg", "postgresql://db.example", TlsConfig(enabled=False), {}) == "disable"
    for url in ("postgresql://localhost", "postgresql://db.example?sslmode=prefer"):
        assert isinstance(encryption("app:pg", url, TlsConfig(), {}), ssl.SSLContext)


async def test_a_server_without_tls_gets_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.readexactly(8))
        writer.write(b"N")  # no TLS here
        heard.extend(await reader.read())
        writer.close()

    monkeypatch.setattr("tasuki.drivers.postgres.connections.is_local", lambda host: False)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        driver = PostgresDriver("app:pg", parsed(PostgresSettings, url=f"postgresql://me:hunter2@127.0.0.1:{port}/app"))
        with pytest.raises(AccessDeniedError, match=r"rejected SSL.*must be encrypted.*sslmode=disable") as caught:
            await driver.open()
        await driver.close()
    assert "hunter2" not in str(caught.value)
    assert not heard.replace(b"\x00\x00\x00\x08\x04\xd2\x16/", b"")  # requests for TLS, and not a byte more
    assert REMEDY in str(caught.value)
