"""Other servers than the plain one: encrypted, standing by, with a standby to wait for."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki.drivers.postgres.driver import PostgresDriver
from tasuki.drivers.postgres.settings import PostgresSettings
from tasuki.errors import AccessDeniedError, BrokerUnavailableError
from tests.support.brokers.postgres import Postgres
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

NAME = "queues.example"


def url(server: Postgres) -> str:
    return server.url


async def works(server: Postgres, **options: Any) -> PostgresDriver:
    """Open a driver on it, send a message, close it again."""
    driver = PostgresDriver("postgres", parsed(PostgresSettings, url=url(server), **options))
    await driver.declare(QueueSpec("q"))
    try:
        await driver.open()
        await driver.publish("q", [Outgoing("a", b"", {})])
        assert [item.id for item in await driver.receive("q", 1, 5.0)] == ["a"]
    finally:
        await driver.close()
    return driver


class Encrypted(Postgres):
    """Takes encrypted connections alone; its certificate is for ``NAME``, signed by ``ca.pem``."""

    settings = (*Postgres.settings, "ssl=on", "ssl_cert_file=server.pem", "ssl_key_file=server.key")

    def prepare(self) -> None:
        super().prepare()
        self._openssl("req", "-x509", "-subj", "/CN=test", "-keyout", "ca.key", "-out", "ca.pem")
        self._openssl(
            "req", "-x509", "-CA", "ca.pem", "-CAkey", "ca.key", "-subj", f"/CN={NAME}",
            "-addext", f"subjectAltName=DNS:{NAME}", "-addext", "basicConstraints=CA:FALSE",
            "-keyout", "server.key", "-out", "server.pem",
        )  # fmt: skip
        for name in ("server.key", "server.pem"):
            (self.data / name).chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(self.data / name, self.user)
        (self.data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")

    def is_ready(self) -> bool:
        return "ready to accept connections" in self.log()

    @property
    def ca(self) -> str:
        """The file of the certificate to trust."""
        shutil.copy(self.data / "ca.pem", self.folder / "ca.pem")
        return str(self.folder / "ca.pem")

    def _openssl(self, *arguments: str) -> None:
        program = self.binary("openssl")
        options = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
        subprocess.run([program, *arguments, *options], check=True, capture_output=True, cwd=self.data)


@pytest.fixture(scope="module")
def encrypted() -> Iterator[Encrypted]:
    with Encrypted() as server:
        yield server


async def test_an_encrypted_connection(encrypted: Encrypted) -> None:
    await works(encrypted, tls={"enabled": True, "ca": encrypted.ca, "server_name": NAME})
    await works(encrypted, tls={"enabled": True, "insecure_skip_verify": True})


async def test_a_certificate_for_another_name_or_of_a_stranger(encrypted: Encrypted, tmp_path: Path) -> None:
    for tls in (
        {"enabled": True, "ca": encrypted.ca},
        {"enabled": True, "ca": encrypted.ca, "server_name": "other.example"},
        {"enabled": True, "server_name": NAME},
    ):
        with pytest.raises(BrokerUnavailableError, match="certificate"):
            await works(encrypted, tls=tls)


async def test_beyond_loopback_the_server_must_be_known_unless_the_address_says_otherwise(
    encrypted: Encrypted, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **named: resolve("127.0.0.1" if host == NAME else host, *rest, **named),
    )
    monkeypatch.setenv("HOME", str(encrypted.folder / "nowhere"))
    far = url(encrypted).replace("127.0.0.1", NAME)
    assert far != url(encrypted)
    with pytest.raises(BrokerUnavailableError, match=r"is not trusted: .*sslrootcert=.*sslmode=require") as caught:
        await opened(far)
    assert NAME in str(caught.value)
    await opened(f"{far}?sslrootcert={encrypted.ca}")
    await opened(f"{far}?sslmode=require")
    await opened(far, tls={"ca": encrypted.ca})
    other = far.replace(NAME, "other.example")
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **named: resolve("127.0.0.1", *rest, **named))
    with pytest.raises(BrokerUnavailableError, match="is not trusted"):
        await opened(f"{other}?sslrootcert={encrypted.ca}")


async def opened(address: str, **options: Any) -> None:
    driver = PostgresDriver("postgres", parsed(PostgresSettings, url=address, **options))
    try:
        await driver.open()
    finally:
        await driver.close()


async def test_what_the_address_says_of_encryption_counts_without_tls(encrypted: Encrypted) -> None:
    driver = PostgresDriver("postgres", parsed(PostgresSettings, url=f"{url(encrypted)}?sslmode=disable"))
    with pytest.raises(AccessDeniedError, match="no encryption"):
        await driver.open()
    await works(encrypted)  # sslmode=prefer, as everywhere
