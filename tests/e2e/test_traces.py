"""The spans of messages: published, handled, settled, retried, dead, sent back, and answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tasuki import App, Context
from tasuki.app.typed.entries import DeadLetterFields
from tests.support.brokers.everywhere import DRIVERS, overrides
from tests.support.recorded import Recorded, attribute, id_of, links_of, parent_of, trace_of, traceparent_of

pytestmark = pytest.mark.anyio

SYSTEMS = {"amqp": "rabbitmq", "sqs": "aws_sqs", "postgres": "postgresql"}
TASKS, NEXT, DEAD = "app:tasks", "app:next", "app:tasks.dead"


@asynccontextmanager
async def shop(driver: str, folder: Path, **fields: Any) -> AsyncIterator[tuple[App, Recorded]]:
    """An app that hands its tasks on, fails for ``bad``, fails once for ``again``, and answers ``ask``."""
    recorded = Recorded()
    mine = uuid4().hex[:8]
    app = App("memory://", root=folder)
    app.entry("own", "queue.driver.memory")
    app.traces(recorded.provider, **fields)
    app.queue("tasks.dead", driver="own", queue_name=f"dead_{mine}")
    dead: DeadLetterFields = {"queue": "tasks.dead", "max_attempts": 2}
    tasks = app.queue(
        "tasks", driver="own", queue_name=f"tasks_{mine}", dead_letter=dead, retry={"initial_delay": "50ms"}
    )
    following = app.queue("next", driver="own", queue_name=f"next_{mine}")
    app._runtime.overrides += overrides(driver, "app:own", folder)

    @tasks.consumer(name="worker")
    async def handle(body: str, context: Context) -> str:
        if body == "bad" or (body == "again" and context.attempt == 1):
            raise ValueError(body)
        if body == "hand on":
            await following.publish(body)
        return body.upper()

    @following.consumer
    async def after(body: str) -> None:
        return None

    async with app.worker():
        yield app, recorded


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_message_is_one_trace_from_its_publisher_to_its_settlement(driver: str, tmp_path: Path) -> None:
    async with shop(driver, tmp_path) as (app, recorded):
        await app.publish("tasks", "hand on")
        await recorded.until(f"settle {TASKS}", f"settle {NEXT}")

    send, process, settle = (recorded.one(f"{what} {TASKS}") for what in ("send", "process", "settle"))
    onward, handled = recorded.one(f"send {NEXT}"), recorded.one(f"process {NEXT}")
    assert {trace_of(span) for span in recorded.spans} == {trace_of(send)}
    assert parent_of(send) is None
    assert [parent_of(span) for span in (process, onward, handled)] == [id_of(span) for span in (send, process, onward)]
    assert (parent_of(settle), links_of(settle)) == (id_of(process), [id_of(process)])
    assert [span.kind.name for span in (send, process, settle)] == ["PRODUCER", "CONSUMER", "CLIENT"]


@pytest.mark.parametrize("driver", DRIVERS)
async def test_what_spans_say(driver: str, tmp_path: Path) -> None:
    async with shop(driver, tmp_path, body_size=True) as (app, recorded):
        job = await app.publish("tasks", "x", {"correlation_id": "order-7"})
        await recorded.until(f"settle {TASKS}")

    system = SYSTEMS.get(driver, driver)
    both: dict[str, object] = {"messaging.system": system, "messaging.destination.name": TASKS}
    if driver not in ("memory", "sqlite"):
        both |= {"server.address": "127.0.0.1"}
    about: dict[str, object] = {
        "messaging.message.id": job.id,
        "messaging.message.conversation_id": "order-7",
        "messaging.message.body.size": 3,
    }
    process: dict[str, object] = {
        **about,
        "messaging.consumer.group.name": "app:worker",
        "tasuki.attempt": 1,
        "tasuki.outcome": "returned",
    }
    more: dict[str, dict[str, object]] = {
        "send": {**about, "tasuki.outcome": "confirmed"},
        "process": process,
        "settle": {"tasuki.outcome": "ack"},
    }
    for what, expected in more.items():
        said = dict(recorded.one(f"{what} {TASKS}").attributes or {})
        said.pop("messaging.batch.message_count", None)
        port = said.pop("server.port", None)
        operation = {"messaging.operation.name": what, "messaging.operation.type": what}
        assert said == {**both, **operation, **expected}
        assert (port is None) == (driver in ("memory", "sqlite"))


async def test_each_attempt_is_a_child_of_the_publish(tmp_path: Path) -> None:
    async with shop("memory", tmp_path) as (app, recorded):
        await app.publish("tasks", "again")
        await recorded.until(*[f"settle {TASKS}"] * 2)

    send, (first, second) = recorded.one(f"send {TASKS}"), recorded.named(f"process {TASKS}")
    assert [parent_of(first), parent_of(second)] == [id_of(send)] * 2
    assert [attribute(span, "tasuki.attempt") for span in (first, second)] == [1, 2]
    assert [attribute(span, "error.type") for span in (first, second)] == ["ValueError", None]
    assert [event.name for event in first.events] == ["exception"]
    assert [attribute(each, "tasuki.outcome") for each in recorded.named(f"settle {TASKS}")] == ["nack", "ack"]


@pytest.mark.parametrize("driver", ["memory", "amqp"])
async def test_a_dead_letter_and_its_redrive_link_to_the_spans_before_them(driver: str, tmp_path: Path) -> None:
    async with shop(driver, tmp_path) as (app, recorded):
        await app.publish("tasks", "bad")
        await recorded.until(f"send {DEAD}")
        send, dead = recorded.one(f"send {TASKS}"), recorded.one(f"send {DEAD}")
        last = recorded.named(f"process {TASKS}")[-1]
        assert (trace_of(dead), parent_of(dead), links_of(dead)) == (trace_of(send), id_of(send), [id_of(last)])

        assert await app.dead.redrive("tasks.dead") == 1
        await recorded.until(*[f"send {DEAD}"] * 2)

    back = recorded.named(f"send {TASKS}")[1]
    assert (trace_of(back), parent_of(back), links_of(back)) == (trace_of(send), id_of(send), [id_of(dead)])
    assert [trace_of(span) for span in recorded.named(f"process {TASKS}")] == [trace_of(send)] * 4


async def test_a_request_and_its_reply(tmp_path: Path) -> None:
    async with shop("memory", tmp_path) as (app, recorded):
        assert await app.request("tasks", "ask", returns=str) == "ASK"
        await recorded.until("send reply")

    send, process, reply = (recorded.one(name) for name in (f"send {TASKS}", f"process {TASKS}", "send reply"))
    assert (parent_of(process), parent_of(reply)) == (id_of(send), id_of(process))
    assert attribute(reply, "messaging.destination.temporary") is True
    assert str(attribute(reply, "messaging.destination.name")).startswith("reply:")
    said = {attribute(span, "messaging.message.conversation_id") for span in (send, process, reply)}
    assert len(said) == 1
    assert None not in said


async def test_a_batch_of_messages_is_one_span_with_a_context_for_all(tmp_path: Path) -> None:
    async with shop("memory", tmp_path) as (app, recorded):
        await app.queue("tasks").publish_many(["a", "b", "c"])
        await recorded.until(*[f"process {TASKS}"] * 3)

    send = recorded.one(f"send {TASKS}")
    assert attribute(send, "messaging.batch.message_count") == 3
    assert {parent_of(span) for span in recorded.named(f"process {TASKS}")} == {id_of(send)}


async def test_nothing_is_recorded_of_a_trace_that_is_not(tmp_path: Path) -> None:
    async with shop("memory", tmp_path) as (app, recorded):
        own = f"00-{'4b' * 16}-{'0a' * 8}-00"
        await app.publish("tasks", "hand on", {"traceparent": own})
        metrics = app._runtime.live().consumers
        await recorded.wait(lambda: all(each.metrics.acked for each in metrics.values()))
        assert recorded.names == []


async def test_a_trace_of_another_program_goes_on(tmp_path: Path) -> None:
    async with shop("memory", tmp_path) as (app, recorded):
        own = f"00-{'4b' * 16}-{'0a' * 8}-01"
        await app.publish("tasks", "hand on", {"traceparent": own, "tracestate": "vendor=1"})
        await recorded.until(f"settle {NEXT}")

    send, process = recorded.one(f"send {TASKS}"), recorded.one(f"process {TASKS}")
    assert (parent_of(process), trace_of(process)) == ("0a" * 8, "4b" * 16)
    assert (send.kind.name, links_of(send)) == ("CLIENT", ["0a" * 8])
    assert recorded.one(f"process {NEXT}").context.trace_state.to_header() == "vendor=1"
    assert traceparent_of(recorded.one(f"send {NEXT}")).startswith(f"00-{'4b' * 16}-")
