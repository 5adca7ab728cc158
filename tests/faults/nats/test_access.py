"""NATS: logins that fail, rights that are missing, encryption, no JetStream, and the server's answer about syncing."""

from __future__ import annotations

import logging
import subprocess
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from tasuki.drivers.nats.driver import NATSDriver
from tasuki.drivers.nats.settings import NATSSettings
from tasuki.errors import AccessDeniedError, BrokerUnavailableError, DriverError
from tests.faults.nats.site import QUEUE, a_site, declared, drained, messages
from tests.support.ports import free_port
from tests.support.settings import parsed

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

SECRET = "canary-f4e1-not-a-real-one"
WRONG = "canary-9b7c-wrong"
LOGIN = (f'authorization {{ user: "app", password: "{SECRET}" }}',)
RIGHTS = (
    "authorization { users: [",
    f'{{ user: "all", password: "{SECRET}" }}',
    f'{{ user: "reader", password: "{SECRET}", permissions: {{ publish: {{ deny: ["tasuki.q.>"] }} }} }}',
    "] }",
)


async def test_a_wrong_password_is_denied_and_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with a_site(LOGIN) as site:
        for given in (
            {"user": "app", "password": WRONG},
            {"token": WRONG},
            {"servers": f"nats://app:{WRONG}@127.0.0.1:{site.broker.port}"},
            {},
        ):
            fields: dict[str, Any] = {"servers": site.broker.url, **given}
            driver = NATSDriver("app:nats", NATSSettings(connect_timeout=2.0, **fields))
            with pytest.raises(AccessDeniedError) as caught:
                await driver.open()
            await driver.close()
            assert WRONG not in "".join(traceback.format_exception(caught.value))
            assert WRONG not in f"{vars(driver)} {driver!r} {caplog.text}"
            assert not caught.value.retryable


async def test_each_way_to_log_in() -> None:
    async with a_site(LOGIN) as site:
        driver = await site.driver(user="app", password=SECRET)
        await declared(driver)
        await driver.publish(QUEUE, messages("a"))
        url = f"nats://app:{SECRET}@127.0.0.1:{site.broker.port}"
        other = NATSDriver("app:nats", parsed(NATSSettings, servers=["nats://127.0.0.1:1", url], connect_timeout=2.0))
        await other.open()
        try:
            await declared(other)
            assert await drained(other) == ["a"]
        finally:
            await other.close()
    async with a_site((f'authorization {{ token: "{SECRET}" }}',)) as site:
        await declared(await site.driver(token=SECRET))


async def test_what_a_user_may_not_do_is_denied_at_once() -> None:
    async with a_site(RIGHTS) as site:
        await declared(await site.driver(user="all", password=SECRET))
        driver = await site.driver(user="reader", password=SECRET, timeout=10.0)
        await declared(driver)
        began = time.monotonic()
        with pytest.raises(AccessDeniedError) as caught:
            await driver.publish(QUEUE, messages("a"))
        assert time.monotonic() - began < 5.0
        assert caught.value.outcome == "rejected"
        assert await drained(driver) == []


async def test_a_password_changed_underneath_is_denied_and_found_right_again() -> None:
    async with a_site(LOGIN) as site:
        driver = await site.driver(is_direct=True, user="app", password=SECRET)
        await declared(driver)
        site.broker.settings = (LOGIN[0].replace(SECRET, "another"),)
        site.broker.restart()
        with pytest.raises(AccessDeniedError):
            await _refused(driver)
        site.broker.settings = LOGIN
        site.broker.restart()
        await driver.publish(QUEUE, messages("a"))
        assert await drained(driver) == ["a"]


async def _refused(driver: NATSDriver) -> None:
    """Until it is not the lost connection any more that is reported."""
    while True:
        try:
            await driver.publish(QUEUE, messages("lost"))
        except BrokerUnavailableError:
            continue


async def test_a_server_without_jetstream_says_what_is_missing(tmp_path: Path) -> None:
    port = free_port()
    with subprocess.Popen(
        ["/usr/sbin/nats-server", "-a", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            driver = NATSDriver(
                "app:nats", parsed(NATSSettings, servers=f"nats://127.0.0.1:{port}", connect_timeout=2.0, timeout=2.0)
            )
            end = time.monotonic() + 20.0
            while True:
                with pytest.raises(DriverError) as caught:
                    await driver.open()
                if "JetStream" in str(caught.value):
                    break
                assert time.monotonic() < end, caught.value
            assert "-js" in str(caught.value)
            assert caught.value.retryable
        finally:
            server.kill()


def certificates(folder: Path) -> None:
    """An authority, and a server of the name ``queue.test`` that it has signed."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", "-days", "2")
    openssl("req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=queue.test")
    (folder / "names").write_text("subjectAltName=DNS:queue.test\n")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-days", "2")
    openssl("x509", "-req", "-in", "server.csr", "-out", "server.pem", *signing)


async def test_encrypted_and_only_with_whom_we_trust(tmp_path: Path) -> None:
    certificates(tmp_path)
    settings = (f'tls {{ cert_file: "{tmp_path}/server.pem", key_file: "{tmp_path}/server.key" }}',)
    ca = str(tmp_path / "ca.pem")
    async with a_site(settings) as site:
        driver = await site.driver(tls={"ca": ca, "server_name": "queue.test"})
        await declared(driver)
        await driver.publish(QUEUE, messages("a"))
        assert await drained(driver) == ["a"]
        for tls in ({}, {"ca": ca}, {"ca": ca, "server_name": "other.test"}):
            stranger = site.made(site.proxy.port, tls={"enabled": True, **tls})
            with pytest.raises(BrokerUnavailableError) as caught:
                await stranger.open()
            await stranger.close()
            assert "certificate" in str(caught.value)
        await declared(await site.driver(tls={"insecure_skip_verify": True}))
    async with a_site((settings[0], "allow_non_tls: true")) as site:
        await declared(await site.driver(tls={"ca": ca, "server_name": "queue.test"}))
        with pytest.raises(BrokerUnavailableError, match="certificate"):
            await site.driver(tls={"ca": ca, "server_name": "other.test"})


async def test_nothing_is_said_to_a_server_that_does_not_encrypt() -> None:
    async with a_site(LOGIN) as site:
        for fields in ({"tls": {"enabled": True}}, {"servers": f"tls://127.0.0.1:{site.proxy.port}"}):
            given: dict[str, Any] = {"servers": f"nats://127.0.0.1:{site.proxy.port}", **fields}
            driver = NATSDriver(
                "app:nats", parsed(NATSSettings, user="app", password=SECRET, connect_timeout=2.0, **given)
            )
            with pytest.raises(BrokerUnavailableError) as caught:
                await driver.open()
            await driver.close()
            assert "does not encrypt" in str(caught.value)


async def test_the_level_is_what_the_server_is_set_to() -> None:
    port = free_port()
    http = f'http: "127.0.0.1:{port}"'
    page = f"http://127.0.0.1:{port}"
    async with a_site((http,)) as site:
        driver = await site.driver(monitoring=page)
        assert driver.durability == "broker"
        assert (await site.driver(server_sync="always")).durability == "power"
        site.broker.settings = (http, "jetstream { sync_interval: always }")
        site.broker.restart()
        driver = await site.driver(monitoring=page)
        assert driver.durability == "power"
        await declared(driver)
        await driver.publish(QUEUE, messages("a"))
        assert await drained(driver) == ["a"]
