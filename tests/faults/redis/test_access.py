"""Redis that refuses: wrong secrets, few rights, no encryption, and configurations that would lose messages."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Nack, QueueSpec, Release
from tasuki.drivers.redis.driver import RedisDriver
from tasuki.drivers.redis.settings import RedisSettings
from tasuki.errors import AccessDeniedError, BrokerUnavailableError, UnsupportedError
from tests.faults.redis.rig import driver_at
from tests.support.brokers.redis import Redis
from tests.support.brokers.rig import messages, take
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

RIGHTS = (
    *(
        "~{tasuki:*",
        "&{tasuki:*",
        "+@hash",
        "+@sortedset",
        "+type",
        "+rename",
        "+set",
        "+evalsha",
        "+script|load",
        "+subscribe",
        "+unsubscribe",
    ),
    *("+publish", "+ping", "+select", "+info", "+time", "+exists", "+del", "+unlink", "+pexpire", "+persist"),
)
"""What a user needs; the guide shows the same."""


@pytest.fixture
def broker() -> Iterator[Redis]:
    with Redis("--appendonly", "no") as broker:
        yield broker


@pytest.mark.parametrize(
    ("fields", "user"),
    [({"password": "wrong-word"}, ""), ({"username": "who", "password": "wrong-word"}, "who"), ({}, "")],
    ids=["password", "user", "none"],
)
async def test_wrong_secrets(broker: Redis, fields: dict[str, Any], user: str) -> None:
    broker.ask("CONFIG", "SET", "requirepass", "right-word")
    driver = RedisDriver("test", RedisSettings(addrs=f"127.0.0.1:{broker.port}", **fields))
    with pytest.raises(AccessDeniedError) as denied:
        await driver.open()
    shown = f"{denied.value!r} {denied.value} {denied.value.__cause__!r}"
    assert "wrong-word" not in shown
    assert "right-word" not in shown


async def test_secrets_that_change_while_it_runs(broker: Redis) -> None:
    broker.ask("ACL", "SETUSER", "worker", "on", ">first-word", "~*", "&*", "+@all")
    fields: dict[str, Any] = {"url": f"redis://worker:first-word@127.0.0.1:{broker.port}"}
    async with driver_at(broker.port, **fields) as driver:
        broker.ask("ACL", "SETUSER", "worker", "resetpass", ">second-word")
        broker.ask("CLIENT", "KILL", "TYPE", "normal")
        # It may notice the kill first.
        errors = [await asyncio.gather(driver.depth("q"), return_exceptions=True) for _ in range(2)]
        assert isinstance(errors[-1][0], AccessDeniedError)
        broker.ask("ACL", "SETUSER", "worker", ">first-word")
        assert (await driver.depth("q")).ready == 0


async def test_a_server_that_knows_no_password_is_clear(broker: Redis) -> None:
    driver = RedisDriver("test", parsed(RedisSettings, url=f"redis://:some-word@127.0.0.1:{broker.port}"))
    with pytest.raises(AccessDeniedError) as denied:
        await driver.open()
    assert "some-word" not in str(denied.value)


async def test_the_rights_of_the_guide_are_enough(broker: Redis) -> None:
    assert broker.ask("ACL", "SETUSER", "worker", "on", ">word", *RIGHTS) == "+OK"
    spec = QueueSpec("q", ordering="key", dedup_window=60.0, lease=60.0)
    fields: dict[str, Any] = {"username": "worker", "password": "word", "addrs": f"127.0.0.1:{broker.port}"}
    async with driver_at(broker.port, spec=spec, **fields) as driver:
        await driver.publish("q", messages("a", "b", key="k") + messages("c", delay=0.01) + messages("d", priority=9))
        got = await take(driver, "q", 3)
        kinds = (Ack(got[0].receipt), Nack(got[1].receipt, 30.0), Release(got[2].receipt))
        assert not await driver.settle("q", kinds)
        (again,) = await take(driver, "q")
        assert not await driver.extend("q", [again.receipt], 30.0)
        await driver.depth("q")
        await driver.peek("q", 10)
        assert await driver.receive("q", 1, 0.1) == []
        await driver.purge("q")
        await driver.delete("q")
        assert driver.durability == "process"


async def test_a_user_without_rights_gets_an_error(broker: Redis) -> None:
    broker.ask("ACL", "SETUSER", "reader", "on", ">word", "~*", "+@read", "+ping", "+info")
    driver = RedisDriver("test", parsed(RedisSettings, url=f"redis://reader:word@127.0.0.1:{broker.port}"))
    await driver.open()
    try:
        with pytest.raises(AccessDeniedError):
            await driver.declare(QueueSpec("q"))
    finally:
        await driver.close()


async def test_a_server_that_would_evict_is_refused(broker: Redis) -> None:
    broker.ask("CONFIG", "SET", "maxmemory", "100mb")
    broker.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    driver = RedisDriver("test", parsed(RedisSettings, url=broker.url))
    with pytest.raises(UnsupportedError, match="CONFIG SET maxmemory-policy noeviction"):
        await driver.open()
    broker.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await driver.open()
    await driver.close()


async def test_the_durability_is_that_of_the_configuration(broker: Redis) -> None:
    driver = RedisDriver("test", parsed(RedisSettings, url=broker.url))
    for settings, level in (
        ({"appendonly": "no"}, "process"),
        ({"appendonly": "yes", "appendfsync": "everysec"}, "broker"),
        ({"appendfsync": "always"}, "power"),
        ({"appendfsync": "no"}, "broker"),
    ):
        for name, value in settings.items():
            assert broker.ask("CONFIG", "SET", name, value) == "+OK"
        await driver.open()
        assert driver.durability == level
        await driver.close()


async def test_no_more_room_for_connections(broker: Redis) -> None:
    async with driver_at(broker.port) as driver:
        broker.ask("CONFIG", "SET", "maxclients", "1")
        other = RedisDriver("other", parsed(RedisSettings, url=broker.url))
        with pytest.raises(BrokerUnavailableError):
            await other.open()
        assert not await driver.publish("q", messages("a"))


async def test_something_else_at_the_port(broker: Redis) -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        driver = RedisDriver("test", RedisSettings(addrs=f"127.0.0.1:{port}"))
        with pytest.raises(BrokerUnavailableError):
            await driver.open()


async def test_encrypted_with_certificates_on_both_sides(tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=queues.test"),
            *("-addext", "subjectAltName=DNS:queues.test", "-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    files = ("--tls-cert-file", str(cert), "--tls-key-file", str(key), "--tls-ca-cert-file", str(cert))
    with Redis("--appendonly", "no", *files) as broker:
        port = _tls_port(broker)
        tls = {"ca": str(cert), "cert": str(cert), "key": str(key), "server_name": "queues.test"}
        async with driver_at(port, url=f"rediss://127.0.0.1:{port}", tls=tls) as driver:
            assert not await driver.publish("q", messages("a"))
            assert [item.id for item in await take(driver, "q")] == ["a"]
        for wrong in ({**tls, "server_name": "other.test"}, {"server_name": "queues.test"}, None):
            stranger = RedisDriver("test", parsed(RedisSettings, url=f"rediss://127.0.0.1:{port}", tls=wrong))
            with pytest.raises(BrokerUnavailableError):
                await stranger.open()


def _tls_port(broker: Redis) -> int:
    from tests.support.ports import free_port

    port = free_port()
    assert broker.ask("CONFIG", "SET", "tls-port", str(port)) == "+OK"
    return port
