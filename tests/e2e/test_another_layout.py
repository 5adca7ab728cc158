"""A store that another version made: each command refuses it in one sentence, and a worker does not start on it."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import asyncpg
import pytest

from tests.support.brokers.nats import NATSBroker
from tests.support.brokers.postgres import Postgres
from tests.support.brokers.redis import Redis
from tests.support.process import run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PROJECT = """
import os

from tasuki import App

app = App(os.environ["QUEUE_URL"])
mails = app.queue("mails", dead_letter="dead")


@mails.consumer
def send(mail: object) -> None:
    pass
"""
LAYOUT = "has layout 2, and this version of Tasuki needs layout 1: drain it with the version that made it"
COMMANDS = ("publish mails {}", "run --until-empty")


Store = tuple[str, Callable[[], None]]
"""The URL of a broker, and a call that gives its store another layout."""


@contextmanager
def sqlite(folder: Path) -> Iterator[Store]:
    path = folder / "queue.db"

    def change() -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 2")

    yield f"sqlite:///{path}", change


@contextmanager
def redis(_: Path) -> Iterator[Store]:
    with Redis() as server:
        yield server.url, lambda: print(server.ask("HSET", "{tasuki:mails}:queue", "version", "2"))


@contextmanager
def postgres(_: Path) -> Iterator[Store]:
    async def change(url: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("INSERT INTO tasuki.migrations (version) VALUES (2)")
        await connection.close()

    with Postgres() as server:
        yield server.url, lambda: asyncio.run(change(server.url))


@contextmanager
def nats(_: Path) -> Iterator[Store]:
    with NATSBroker() as server:

        def change() -> None:
            record = json.dumps({"layout": 2}).encode()
            with socket.create_connection(("127.0.0.1", server.port), 5.0) as connection:
                connection.sendall(b"CONNECT {}\r\nPUB tasuki.b.v %d\r\n%s\r\nPING\r\n" % (len(record), record))
                answer = b""
                while b"PONG" not in answer:
                    answer += connection.recv(4096)

        yield server.url, change


@pytest.mark.parametrize("store", [sqlite, redis, postgres, nats], ids=lambda store: store.__name__)
def test_each_command_refuses_a_store_of_another_layout_in_one_sentence(
    store: Callable[[Path], AbstractContextManager[Store]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jobs.py").write_text(PROJECT)
    with store(tmp_path) as (url, change):
        monkeypatch.setenv("QUEUE_URL", url)
        assert run("publish", "mails", "{}", folder=tmp_path).returncode == 0
        assert run("run", "--until-empty", folder=tmp_path).returncode == 0, "a store of this layout is opened"
        change()
        for command in COMMANDS:
            done = run(*command.split(), folder=tmp_path)
            assert done.returncode != 0, (command, done.stdout)
            assert LAYOUT in done.stderr.strip().splitlines()[-1], (command, done.stderr)
            assert "Traceback" not in done.stderr, command
