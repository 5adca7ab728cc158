"""RabbitMQ over TLS: whom we trust, and who we are."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.errors import AccessDeniedError, BrokerUnavailableError
from tests.faults.amqp.rig import driver_at
from tests.support.brokers.broker import missing
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import messages, take
from tests.support.ports import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


class EncryptedRabbitMQ(RabbitMQ):
    """Asks for a client's certificate, and takes the user's name from it."""

    plugins = "rabbitmq_auth_mechanism_ssl"

    def __init__(self, certificates: Path) -> None:
        super().__init__()
        self.encrypted_port = free_port()
        self.settings = f"""\
listeners.ssl.1 = 127.0.0.1:{self.encrypted_port}
ssl_options.cacertfile = {certificates}/ca.pem
ssl_options.certfile = {certificates}/localhost.pem
ssl_options.keyfile = {certificates}/localhost.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
ssl_cert_login_from = common_name
"""

    def is_ready(self) -> bool:
        """Both ports answer."""
        with socket.create_connection(("127.0.0.1", self.encrypted_port), timeout=2.0):
            return super().is_ready()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``ca``, and signed by it ``localhost``, ``guest`` and ``stranger``; and ``other``, its own authority."""
    if shutil.which("openssl") is None:
        missing("openssl", "apt-get install openssl")
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ca", "other"):
        _openssl(folder, "req", "-x509", *_key(name), "-days", "2", "-out", f"{name}.pem")
    for name in ("localhost", "guest", "stranger"):
        (folder / f"{name}.ext").write_text("subjectAltName = DNS:localhost\n" if name == "localhost" else "")
        _openssl(folder, "req", *_key(name), "-out", f"{name}.csr")
        _openssl(
            folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem",
        )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def broker(certificates: Path) -> Iterator[EncryptedRabbitMQ]:
    with EncryptedRabbitMQ(certificates) as broker:
        yield broker


def tls(folder: Path, client: str = "guest", ca: str = "ca", **fields: object) -> dict[str, object]:
    files = {"ca": f"{folder}/{ca}.pem", "cert": f"{folder}/{client}.pem", "key": f"{folder}/{client}.key"}
    return {"server_name": "localhost", **files, **fields}


async def test_the_user_is_that_of_the_certificate(broker: EncryptedRabbitMQ, certificates: Path) -> None:
    url = f"amqps://127.0.0.1:{broker.encrypted_port}/"
    async with driver_at(0, QueueSpec("q"), url=url, auth_mechanism="EXTERNAL", tls=tls(certificates)) as driver:
        await driver.publish("q", messages("a"))
        assert (await take(driver, "q"))[0].id == "a"


async def test_a_certificate_of_nobody_that_the_broker_knows(broker: EncryptedRabbitMQ, certificates: Path) -> None:
    url = f"amqps://127.0.0.1:{broker.encrypted_port}/"
    with pytest.raises(AccessDeniedError):
        async with driver_at(0, url=url, auth_mechanism="EXTERNAL", tls=tls(certificates, "stranger")):
            pass


@pytest.mark.parametrize(
    ("fields", "problem"),
    [({"ca": "other"}, "certificate is not trusted"), ({"server_name": "elsewhere"}, "certificate is not trusted")],
    ids=["another authority", "another name"],
)
async def test_a_broker_that_is_not_who_it_should_be(
    broker: EncryptedRabbitMQ, certificates: Path, fields: dict[str, str], problem: str
) -> None:
    url = f"amqps://127.0.0.1:{broker.encrypted_port}/"
    with pytest.raises(BrokerUnavailableError, match=problem):
        async with driver_at(0, url=url, tls=tls(certificates, **fields)):
            pass
    async with driver_at(0, url=url, tls=tls(certificates, **fields, insecure_skip_verify=True)):
        pass


async def test_files_that_are_not_there(certificates: Path) -> None:
    with pytest.raises(BrokerUnavailableError, match="No such file"):
        async with driver_at(0, url="amqps://127.0.0.1:1/", tls=tls(certificates, "nobody")):
            pass


def _key(name: str) -> tuple[str, ...]:
    return ("-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key")


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
