"""Keeping: the store of each driver as text, and back, at a broker that holds nothing else."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import hiredis

from tests.support.brokers.broker import Broker
from tests.support.brokers.nats import NATSBroker
from tests.support.brokers.postgres import Postgres
from tests.support.brokers.redis import Redis
from tests.support.old_stores.project import overrides


class Place(Protocol):
    """Where a store is: the options that bring the project there, its text, and what makes it of a text."""

    @property
    def options(self) -> Sequence[str]: ...

    def keep(self) -> str: ...
    def load(self, text: str) -> None: ...


class SqliteFile:
    """A file of SQLite, as SQL."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "queue.db"
        self.options = overrides("sqlite", path=self._path)

    def keep(self) -> str:
        """Tables, rows and the two numbers in the head of the file."""
        with closing(sqlite3.connect(self._path)) as connection:
            pragmas = [
                f"PRAGMA {name}={connection.execute(f'PRAGMA {name}').fetchone()[0]};"
                for name in ("user_version", "application_id", "auto_vacuum")
            ]
            return "\n".join([pragmas.pop(), *connection.iterdump(), *pragmas, ""])

    def load(self, text: str) -> None:
        """Make the file."""
        with closing(sqlite3.connect(self._path)) as connection:
            connection.executescript(text)


_OMITTED = re.compile(r"\s*SET (?!search_path TO)|SELECT pg_catalog.set_config|\\")


class PostgresSchema:
    """A schema, as ``pg_dump`` writes it, without comments, indentation, and settings that make functions quick."""

    def __init__(self, server: Postgres, schema: str) -> None:
        self._server = server
        self._schema = schema
        self.options = overrides("postgres", url=server.url, schema=schema)

    def keep(self) -> str:
        """The schema, named ``kept_schema``."""
        options = (f"--schema={self._schema}", "--no-owner", "--no-privileges", "--inserts")
        done = subprocess.run(["pg_dump", *options, self._server.url], check=True, capture_output=True, text=True)
        lines = [line for line in done.stdout.splitlines() if line.strip() and not line.lstrip().startswith("--")]
        kept = [line.strip() for line in lines if not _OMITTED.match(line)]
        return "\n".join([*kept, ""]).replace(self._schema, "kept_schema")

    def load(self, text: str) -> None:
        """Make the schema."""

        async def load() -> None:
            connection = await asyncpg.connect(self._server.url)
            try:
                await connection.execute("SET check_function_bodies = off")
                await connection.execute(text.replace("kept_schema", self._schema))
            finally:
                await connection.close()

        asyncio.run(load())


class RedisServer:
    """All keys of a server, as the commands that make them; bytes are characters up to 255."""

    def __init__(self, server: Redis) -> None:
        self._server = server
        self.options = overrides("redis", url=server.url)

    def keep(self) -> str:
        """A command a line, without the keys that end by themselves."""
        keys = sorted(key for key in self._ask("KEYS", "*") if self._ask("TTL", key) < 0)
        return "".join(json.dumps([_text(word) for word in self._command(key)]) + "\n" for key in keys)

    def load(self, text: str) -> None:
        """Run the commands."""
        for line in text.splitlines():
            self._ask(*(word.encode("latin-1") for word in json.loads(line)))

    def _command(self, key: bytes) -> list[bytes]:
        kind = _text(self._ask("TYPE", key))
        if kind == "hash":
            return [b"HSET", key, *self._ask("HGETALL", key)]
        if kind == "zset":
            pairs = iter(self._ask("ZRANGE", key, "0", "-1", "WITHSCORES"))
            return [b"ZADD", key, *(word for member in pairs for word in (next(pairs), member))]
        if kind == "list":
            return [b"RPUSH", key, *self._ask("LRANGE", key, "0", "-1")]
        if kind == "set":
            return [b"SADD", key, *sorted(self._ask("SMEMBERS", key))]
        if kind == "string":
            return [b"SET", key, self._ask("GET", key)]
        raise AssertionError(f"{key!r} is a {kind}")

    def _ask(self, *words: str | bytes) -> Any:
        with socket.create_connection(("127.0.0.1", self._server.port), timeout=5) as connection:
            connection.sendall(_packed(words))
            reader = hiredis.Reader()
            while (answer := reader.gets()) is False:
                reader.feed(connection.recv(65536))
        assert not isinstance(answer, Exception), answer
        return answer


class NatsServer:
    """All streams of a server with their messages, as JSON; bytes are characters up to 255."""

    def __init__(self, server: NATSBroker) -> None:
        self._server = server
        self.options = overrides("nats", servers=server.url)

    def keep(self) -> str:
        """A stream a line."""
        return "".join(json.dumps(stream) + "\n" for stream in asyncio.run(self._streams()))

    async def _streams(self) -> list[Any]:
        import nats

        client = await nats.connect(self._server.url)
        js = client.jetstream()
        found = []
        for name in sorted((await _api(client, "STREAM.NAMES"))["streams"]):
            info = await _api(client, f"STREAM.INFO.{name}")
            messages: list[Any] = []
            for seq in range(1, info["state"]["last_seq"] + 1):
                try:
                    message = await js.get_msg(name, seq)
                except Exception:  # it is gone
                    messages.append(None)
                else:
                    headers = {  # without what the publish expected of the stream
                        name: value
                        for name, value in (message.headers or {}).items()
                        if not name.startswith("Nats-Expected")
                    }
                    messages.append([message.subject, headers, _text(message.data or b"")])
            consumers = [
                (await _api(client, f"CONSUMER.INFO.{name}.{consumer}"))["config"]
                for consumer in (await _api(client, f"CONSUMER.NAMES.{name}")).get("consumers") or ()
            ]
            found.append({"config": info["config"], "messages": messages, "consumers": consumers})
        await client.close()
        return found

    def load(self, text: str) -> None:
        """Make the streams, publish the messages under their numbers, and make the consumers."""
        asyncio.run(self._load([json.loads(line) for line in text.splitlines()]))

    async def _load(self, streams: Sequence[Any]) -> None:
        import nats

        client = await nats.connect(self._server.url)
        js = client.jetstream()
        for stream in streams:
            name = stream["config"]["name"]
            await _api(client, f"STREAM.CREATE.{name}", stream["config"])
            for seq, message in enumerate(stream["messages"], 1):
                subject, headers, data = message or [stream["messages"][-1][0], {}, ""]
                answer = await js.publish(subject, data.encode("latin-1"), headers=headers or None)
                assert answer.seq == seq
                if message is None:
                    await js.delete_msg(name, seq)
            for consumer in stream["consumers"]:
                durable = consumer["durable_name"]
                await _api(
                    client, f"CONSUMER.DURABLE.CREATE.{name}.{durable}", {"stream_name": name, "config": consumer}
                )
        await client.close()


async def _api(client: Any, subject: str, body: Any = None) -> Any:
    data = b"" if body is None else json.dumps(body).encode()
    answer = json.loads((await client.request(f"$JS.API.{subject}", data, timeout=5)).data)
    assert "error" not in answer, (subject, answer["error"])
    return answer


def _packed(words: Sequence[str | bytes]) -> bytes:
    encoded = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)


def _text(word: str | bytes) -> str:
    return word if isinstance(word, str) else word.decode("latin-1")


@contextmanager
def place_of(driver: str, folder: Path) -> Iterator[Place]:
    """An empty place for a store of the driver."""
    if driver == "sqlite":
        yield SqliteFile(folder)
        return
    if driver == "postgres":
        yield PostgresSchema(Postgres.shared(), f"old_{folder.name}".replace("-", "_").lower())
        return
    server: Redis | NATSBroker = Redis() if driver == "redis" else NATSBroker()
    with _started(server):
        yield RedisServer(server) if isinstance(server, Redis) else NatsServer(server)


@contextmanager
def _started(broker: Broker) -> Iterator[None]:
    with broker:
        yield
