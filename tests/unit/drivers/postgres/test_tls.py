"""Where an address says nothing about encryption, it is required beyond loopback."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

import pytest

from tasuki.drivers.postgres.connecting.tls import REMEDY, encryption
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.errors import AccessDeniedError
from tasuki.fields.tls import TlsConfig
from tests.support.settings import parsed

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("url", "environ", "argument"),
    [
        ("postgresql://me:word@db.example/app", {}, "require"),
        ("postgresql://me:word@10.0.0.5:5432/app", {}, "require"),
        ("postgresql://me:word@[2001:db8::1]:5432/app", {}, "require"),
        ("postgresql://me:word@localhost,db.example/app", {}, "require"),
        ("postgresql://me:word@localhost.example/app", {}, "require"),
        ("postgresql:///app?host=db.example", {}, "require"),
        ("postgresql:///app", {"PGHOST": "db.example"}, "require"),
        ("postgresql://db.example", {"PGSSLMODE": "", "PGSERVICE": ""}, "require"),
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

    monkeypatch.setattr("tasuki.drivers.postgres.connecting.tls.is_local", lambda host: False)
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
