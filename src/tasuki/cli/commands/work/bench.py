"""``tasuki bench``: measure a driver on this machine, beside a loop that does nothing else."""

from __future__ import annotations

import asyncio
import platform
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from tasuki.cli import loop
from tasuki.cli.exits import CommandError
from tasuki.cli.options import printing, project_options
from tasuki.cli.output import print_table
from tasuki.cli.project import Target

if TYPE_CHECKING:
    from tasuki.app import App


QUEUE = "tasuki-bench"

BODY = {
    "id": "0190c6f0-1b2c-7000-8000-00000000abcd",
    "kind": "order.created",
    "user": 123456,
    "total": 99.95,
    "currency": "EUR",
    "paid": True,
    "items": ["a1", "b2", "c3"],
    "note": "please ring and wait for a while",
}

_CHUNK = 1000

_SINGLE_SECONDS = 1.0


Driver = tuple[str, dict[str, Any], Path]


def driver_to_measure(target: Target, url: str | None) -> Driver:
    """Kind and fields of the driver, and the folder for its files.

    Raises:
        CommandError: the project has no queue.
    """
    from tasuki.app.declare import driver_of_url
    from tasuki.kinds.entries.queue import QueueConfig

    if url is not None:
        kind, fields = driver_of_url(url)
        return kind, fields, Path.cwd()
    project = target.load().check()
    for queue in project.of(QueueConfig).values():
        entry = project.registry.entries[queue.driver]
        fields = {name: value for name, value in entry.data.items() if name != "lifecycle"}
        folder = project.registry.root / str(fields.get("path", "."))
        return entry.kind, fields, folder.parent if folder.parent.is_dir() else project.registry.root
    raise CommandError("the project has no queue; name a driver: tasuki bench sqlite://")


def bench_app(kind: str, fields: dict[str, Any], folder: Path) -> App:
    """An app with one queue on such a driver; SQLite's file is in the folder."""
    from tasuki.app import App

    app = App(root=folder)
    if kind == "queue.driver.sqlite":
        fields = {**fields, "path": "bench.db"}
    app.entry("driver", kind, fields)
    app.queue(QUEUE)
    return app


async def measure(app: App, messages: int) -> list[dict[str, Any]]:
    """Four rows: the bare loop, publishing one by one, publishing in batches, consuming."""
    left, done = 0, asyncio.Event()

    async def handle(body: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    app.queue(QUEUE).consumer(concurrency=100, prefetch=1000)(handle)
    rows = [await _timed("bare loop", lambda: _bare_loop(messages))]
    try:
        await app.open()
        queue = app._runtime.queue(QUEUE)
        await queue.purge()
        rows.append(await _timed("publish one by one", lambda: _publish_singly(queue, messages)))
        await queue.purge()
        rows.append(await _timed(f"publish {_CHUNK} at a time", lambda: _publish_many(queue, messages)))
        left = messages

        async def consume() -> int:
            await app.start()
            await done.wait()
            return messages

        rows.append(await _timed("consume", consume))
        await queue.purge()
    finally:
        await app.close()
    return rows


async def _timed(what: str, work: Callable[[], Awaitable[int]]) -> dict[str, Any]:
    cpu, started = time.process_time(), time.perf_counter()
    count = await work()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    rate, cost = round(count / seconds), round(cpu / count * 1e6, 2)
    return {"what": what, "messages": count, "messages_per_second": rate, "cpu_us_per_message": cost}


async def _bare_loop(count: int) -> int:
    async def handle(body: Any) -> None: ...

    decode = msgspec.json.Decoder().decode
    bodies = deque([msgspec.json.encode(BODY)] * count)
    while bodies:
        await handle(decode(bodies.popleft()))
    return count


async def _publish_singly(queue: Any, count: int) -> int:
    ends_at = time.monotonic() + _SINGLE_SECONDS
    for number in range(1, count + 1):
        await queue.publish(BODY)
        if time.monotonic() >= ends_at:
            return number
    return count


async def _publish_many(queue: Any, count: int) -> int:
    for start in range(0, count, _CHUNK):
        for result in await queue.publish_many([BODY] * min(_CHUNK, count - start)):
            if error := getattr(result, "error", None):
                raise error
    return count


def _show(done: dict[str, Any]) -> None:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    click.echo(f"{done['driver']}, {done['messages']} messages of 192 bytes, {python}")
    rows = [(row["what"], row["messages_per_second"], row["cpu_us_per_message"]) for row in done["results"]]
    print_table(("", "MESSAGES/S", "µs CPU/MESSAGE"), rows)


@click.command("bench")
@click.argument("url", required=False)
@click.option("--messages", type=click.IntRange(100, 10_000_000), default=20_000, show_default=True, help="How many.")
@printing(_show)
@project_options()
def bench_command(target: Target, url: str | None, messages: int) -> dict[str, Any]:
    """Measure the driver of URL (memory://, sqlite://, …), or else the first of the project.

    It publishes and consumes messages of 192 bytes with a handler that does nothing, on its own queue: for SQLite
    in a new file in the same folder. The bare loop decodes as many bodies and awaits a function, without a queue: the
    least that Python costs. CPU is the time of this process, all threads, without the broker's own.
    """
    from tasuki.cli.commands.work.bench import bench_app, driver_to_measure, measure

    kind, fields, folder = driver_to_measure(target, url)
    with tempfile.TemporaryDirectory(prefix=".tasuki-bench-", dir=folder) as scratch:
        app = bench_app(kind, fields, Path(scratch))
        rows = loop.run(measure(app, messages), fast=True)
    return {"driver": kind, "messages": messages, "results": rows}
