"""Commands that look make nothing at the broker, also after something was published there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.brokers.nats import NATSBroker
from tests.support.brokers.redis import Redis
from tests.support.process import run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PROJECT = """
import os

from tasuki import App

app = App(os.environ["QUEUE_URL"])
mails = app.queue("mails", dead_letter={"queue": "dead", "max_attempts": 1})


@mails.consumer
def send(mail: object) -> None:
    pass
"""
LOOKING = ("queues", "info mails", "workers", "top --once", "dead", "schedules", "audit", "batches", "explain x")


@pytest.mark.parametrize("broker", ["redis", "nats"])
def test_looking_at_a_queue_makes_no_store(broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs.py").write_text(PROJECT)
    with Redis() if broker == "redis" else NATSBroker() as server:
        monkeypatch.setenv("QUEUE_URL", server.url)
        assert run("publish", "mails", "{}", folder=tmp_path).returncode == 0
        before = things(server)
        for command in LOOKING:
            done = run(*command.split(), folder=tmp_path)
            assert done.returncode in (0, 1), (command, done.stderr)
            assert "Traceback" not in done.stderr, done.stderr
            assert things(server) == before, command
        assert run("pause", "mails", folder=tmp_path).returncode == 0
        assert things(server) != before, "an order is kept"
        assert "app:mails is paused" in run("queues", folder=tmp_path).stderr


def things(server: Redis | NATSBroker) -> set[str]:
    """The keys of the server, or its streams, by the broker itself."""
    if isinstance(server, Redis):
        keys = server.ask("EVAL", "return table.concat(redis.call('KEYS', '*'), ' ')", "0")
        return set(keys.partition("\r\n")[2].split())
    return {each.name for each in (server.folder / "data" / "jetstream" / "$G" / "streams").iterdir()}
