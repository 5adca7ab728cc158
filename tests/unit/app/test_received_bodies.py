"""Bodies that are beyond the bounds of their queue: each kind of handler, dead letters, and queues without them."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.contracts.driver import Outgoing
from tests.unit.app.project import DONE, SECOND, Yaml, reload

pytestmark = pytest.mark.anyio
VIRTUAL_TIME = True

KIB = 1024
LARGE = b'"' + b"x" * 2 * KIB + b'"'
PACKED = {"content_type": "json/plain+gzip"}


async def put(app: App, queue: str, *messages: Outgoing) -> None:
    """Straight into the broker, as another program would do it."""
    live = app._runtime.queue(queue)
    assert not any(await live.driver.publish(live.spec.name, list(messages)) or ())


async def reasons(app: App, queue: str = "dead") -> dict[str, Any]:
    return {each.id: each.headers["x_dead_letter_reason"] for each in await app._runtime.queue(queue).peek(100)}


def alone(app: App, seen: list[Any], **options: Any) -> None:
    @app.queue("tasks", **options).consumer
    async def handle(body: Any) -> None:
        seen.append(body)


def in_batches(app: App, seen: list[Any], **options: Any) -> None:
    @app.queue("tasks", **options).consumer(batch={"size": 10})
    async def handle(bodies: list[Any]) -> None:
        seen.extend(bodies)


def in_a_thread(app: App, seen: list[Any], **options: Any) -> None:
    @app.queue("tasks", **options).consumer
    def handle(body: str) -> None:
        seen.append(body)


@pytest.mark.parametrize("consume", [alone, in_batches, in_a_thread])
async def test_a_body_larger_than_its_queue_takes_never_reaches_the_handler(
    make_app: Callable[..., App], consume: Callable[..., None]
) -> None:
    app, seen = make_app(), list[Any]()
    consume(app, seen, max_message_size=KIB, dead_letter={"queue": "dead", "max_attempts": 5})
    app.queue("dead")
    async with app.worker(), asyncio.timeout(60):
        await put(app, "tasks", Outgoing("large", LARGE, {}), Outgoing("packed", gzip.compress(LARGE), dict(PACKED)))
        await put(
            app, "tasks", Outgoing("good", b'"good"', {}), Outgoing("small", gzip.compress(b'"small"'), dict(PACKED))
        )
        while len(await reasons(app)) < 2 or len(seen) < 2:
            await asyncio.sleep(0.1)
        assert await reasons(app) == {"large": "invalid", "packed": "invalid"}
        letter = (await app._runtime.queue("dead").peek())[0]
        assert "the max_message_size of its queue: raise that to have it handled" in str(letter.headers["x_last_error"])
        assert (letter.body, letter.headers["attempts"]) == (LARGE, 1)
    assert sorted(seen) == ["good", "small"]


async def test_without_dead_letters_it_is_kept(make_app: Callable[..., App], caplog: pytest.LogCaptureFixture) -> None:
    app, seen = make_app(), list[Any]()
    alone(app, seen, max_message_size=KIB)
    async with app.worker(), asyncio.timeout(60):
        await put(app, "tasks", Outgoing("large", LARGE, {}))
        while "larger than 1024 bytes" not in caplog.text:
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        depth = await app._runtime.queue("tasks").depth()
        assert depth.message_count == 1
    assert not seen


async def test_the_dead_letters_of_a_dead_letter_queue_keep_their_size(make_app: Callable[..., App]) -> None:
    app, letters = make_app(), list[str]()

    @app.queue("tasks", max_message_size=4 * KIB, dead_letter={"queue": "dead", "max_attempts": 1}).consumer
    async def fail(body: str) -> None:
        raise ValueError(body[:1])

    @app.queue("dead", max_message_size=KIB, dead_letter={"queue": "deader", "max_attempts": 1}).consumer
    async def fail_again(body: str) -> None:
        raise ValueError(body[:1])

    @app.queue("deader", max_message_size=KIB).consumer
    async def look(body: str) -> None:
        letters.append(body)

    async with app.worker(), asyncio.timeout(60):
        await app.publish("tasks", "x" * 3 * KIB)
        while not letters:
            await asyncio.sleep(0.1)
    assert letters == ["x" * 3 * KIB]


async def test_a_dead_letter_queue_takes_the_new_size_of_a_queue_at_a_reload(tmp_path: Path) -> None:
    yaml = Yaml(tmp_path)
    yaml.more = SECOND
    yaml.queue = "dead_letter: {queue: dead, max_attempts: 1}, max_message_size: 1MiB"
    yaml.write()
    body = "x" * 2 * 2**20
    async with App.load(tmp_path).worker() as app, asyncio.timeout(60):
        yaml.queue = "dead_letter: {queue: dead, max_attempts: 1}, max_message_size: 4MiB"
        await reload(app, yaml)
        await put(app, "dead", Outgoing("large", f'"{body}"'.encode(), {}))
        while not DONE:
            await asyncio.sleep(0.1)
    assert [("v1", body)] == DONE
