"""The brokers' own word: what their own tools, or plain questions to their storage, say that a queue holds."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import psycopg

from tests.e2e.truth.world import World
from tests.support.brokers.nats import NATSBroker
from tests.support.brokers.postgres import Postgres
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.redis import Redis


async def held(world: World, put_off: Mapping[str, int]) -> Mapping[str, int]:
    """Messages that the broker has given to workers and that are not settled, by id of the queue.

    ``put_off``: messages that wait for their time, by id of the queue. A NATS server counts them as given, since the
    worker that received them has asked for them later; no other broker does.
    """
    counts = await _HELD[world.driver](world)
    late = put_off if world.driver == "nats" else {}
    return {id: count - late.get(id, 0) for id, count in counts.items() if id != "app:dead"}


async def _sqlite(world: World) -> dict[str, int]:
    with closing(sqlite3.connect(world.folder / "queue.db")) as file:
        text = "select name, (select count(*) from held h where h.queue = q.queue) from queues q"
        return _by_id(world, dict(file.execute(text).fetchall()))


async def _postgres(world: World) -> dict[str, int]:
    text = """
        select q.name, count(m.seq) filter (where m.state = 2)
        from tasuki.queues q left join tasuki.messages m on m.queue = q.id group by 1"""
    async with await psycopg.AsyncConnection.connect(Postgres.shared().url) as server:
        return _by_id(world, dict(await (await server.execute(text)).fetchall()))


async def _redis(world: World) -> dict[str, int]:
    script = "local k = redis.call('keys', ARGV[1]) return k[1] and redis.call('zcard', k[1]) or 0"
    return {
        id: int(Redis.shared().ask("EVAL", script, "0", f"*{name}*:leases").lstrip(":"))
        for id, name in world.names.items()
    }


async def _amqp(world: World) -> dict[str, int]:
    rows = RabbitMQ.shared().control("list_queues", "name", "messages_unacknowledged").splitlines()
    counts = dict(row.split("\t") for row in rows if row.count("\t") == 1)
    return _by_id(world, {name: int(count) for name, count in counts.items() if count.isdigit()})


async def _nats(world: World) -> dict[str, int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", NATSBroker.shared().port)
    with closing(writer):
        found = {}
        for id, name in world.names.items():
            stream = f"tasuki+{name}"
            listed = await _asked(reader, writer, f"$JS.API.CONSUMER.LIST.{stream}")
            found[id] = sum(each["num_ack_pending"] for each in listed.get("consumers") or ())
        return found


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, subject: str) -> dict[str, Any]:
    writer.write(b'CONNECT {"verbose":false}\r\nSUB _TRUTH 1\r\n' + f"PUB {subject} _TRUTH 0\r\n\r\n".encode())
    while not (line := await reader.readline()).startswith(b"MSG"):
        assert line, "the server has gone"
    answer: dict[str, Any] = json.loads(await reader.readexactly(int(line.split()[-1])))
    return answer


def _by_id(world: World, by_name: Mapping[str, int]) -> dict[str, int]:
    return {id: by_name[name] for id, name in world.names.items() if name in by_name}


_HELD = {"sqlite": _sqlite, "postgres": _postgres, "redis": _redis, "amqp": _amqp, "nats": _nats}
