"""NATS: how a server is configured by the fields of a driver and the options of a queue, and what it keeps."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki.errors import BrokerUnavailableError, QueueConflictError, QueueFullError, UnsupportedError
from tests.faults.nats.site import QUEUE, Site, a_site, declared, drained, messages, take
from tests.faults.nats.test_access import SECRET, certificates
from tests.support.brokers.nats import NATSBroker

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

FEW_INBOXES = (
    "authorization { users: [",
    f'{{ user: "app", password: "{SECRET}", permissions: {{ subscribe: {{ deny: ["_INBOX.>"] }} }} }}',
    "] }",
)


async def config_of(site: Site, queue: str = QUEUE) -> dict[str, Any]:
    """The configuration of the queue's stream, as the server has it."""
    names = (await site.ask("STREAM.NAMES"))["streams"]
    (stream,) = [name for name in names if name.endswith(f"+{queue}")]
    found: dict[str, Any] = (await site.ask(f"STREAM.INFO.{stream}"))["config"]
    return found


async def test_answers_come_where_the_user_may_listen() -> None:
    async with a_site(FEW_INBOXES) as site:
        driver = await site.driver(user="app", password=SECRET, inbox_prefix="app.inbox")
        await declared(driver)
        await driver.publish(QUEUE, messages("a"))
        assert await drained(driver) == ["a"]


async def test_the_streams_of_a_domain() -> None:
    async with a_site() as site:
        domain = f'jetstream {{ store_dir: "{site.broker.folder}/domain", domain: hub }}'
    async with a_site((domain,)) as site:
        driver = await site.driver(domain="hub")
        await declared(driver)
        await driver.publish(QUEUE, messages("a", "b"))
        (first,) = await take(driver, 1)
        assert first.id == "a"
        assert not await driver.extend(QUEUE, [first.receipt], 30.0)
        await driver.settle(QUEUE, [])
        assert await drained(driver) == ["b"]
        with pytest.raises(BrokerUnavailableError, match="JetStream does not answer"):
            await declared(await site.driver(domain="elsewhere"))


async def test_encryption_comes_first_where_the_server_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_open(broker: NATSBroker) -> bool:
        socket.create_connection(("127.0.0.1", broker.port), 1.0).close()
        return True

    monkeypatch.setattr(NATSBroker, "is_ready", is_open)  # a server that says nothing first
    certificates(tmp_path)
    files = f'cert_file: "{tmp_path}/server.pem", key_file: "{tmp_path}/server.key"'
    tls = {"ca": str(tmp_path / "ca.pem"), "server_name": "queue.test"}
    async with a_site((f"tls {{ {files}, handshake_first: true }}",)) as site:
        driver = await site.driver(tls=tls, tls_first=True)
        await declared(driver)
        await driver.publish(QUEUE, messages("a"))
        assert await drained(driver) == ["a"]
        with pytest.raises(BrokerUnavailableError):
            await site.driver(tls=tls)


async def test_a_stream_keeps_so_many_bytes_and_refuses_what_is_beyond() -> None:
    async with a_site() as site:
        driver = await site.driver()
        await declared(driver, options={"max_bytes": 5000})
        assert (await config_of(site))["max_bytes"] == 5000
        results = await driver.publish(QUEUE, [Outgoing(str(number), b"x" * 2000, {}) for number in range(4)])
        assert [type(result) for result in results] == [type(None), type(None), QueueFullError, QueueFullError]
        assert "max_bytes of 5000" in str(results[2])
        await declared(driver, options={})
        assert (await config_of(site))["max_bytes"] == -1
        assert not await driver.publish(QUEUE, messages("more"))
        assert await drained(driver) == ["0", "1", "more"]


async def test_a_stream_has_its_own_storage_and_says_what_it_survives() -> None:
    async with a_site() as site:
        driver = await site.driver(server_sync="always")
        await declared(driver, options={"storage": "memory"})
        assert (await config_of(site))["storage"] == "memory"
        assert driver.durability_of(QUEUE) == "process"
        with pytest.raises(QueueConflictError, match="has its messages in memory, not in file"):
            await declared(driver, options={"storage": "file"})
        await declared(driver)
        assert (await config_of(site))["storage"] == "memory", "what was made stays as it was made"
        await driver.declare(QueueSpec("other"))
        assert driver.durability_of("other") == "power"


async def test_a_stream_lets_messages_go_at_their_age_and_takes_none_that_would_not_come() -> None:
    async with a_site() as site:
        driver = await site.driver()
        await declared(driver, options={"message_ttl": 0.5})
        config = await config_of(site)
        assert config["max_age"] == config["duplicate_window"] == 500_000_000
        with pytest.raises(UnsupportedError, match=r"message_ttl is 0\.5 s"):
            await driver.publish(QUEUE, messages("late", delay=0.5))
        await driver.publish(QUEUE, messages("a"))

        async def is_gone() -> bool:
            return not (await driver.depth(QUEUE)).ready

        while not await is_gone():
            pass
        assert await drained(driver) == []


async def test_another_process_sees_the_options_of_a_stream() -> None:
    async with a_site() as site:
        maker, looker = await site.driver(), await site.driver()
        await declared(maker, options={"max_bytes": 5000, "message_ttl": 60.0})
        found = await looker.inspect(QueueSpec(QUEUE))
        assert found.options == {"max_bytes": 5000, "message_ttl": 60.0}
        await declared(looker, options={"max_bytes": 5000, "message_ttl": 60.0, "storage": "file", "replicas": 1})
