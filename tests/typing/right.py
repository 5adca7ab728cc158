"""A program that uses the typed door as it is meant: both type checkers have nothing to say."""

# pyright: strict

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, assert_type

from tasuki import App, Context, Envelope, Job, Message, Moment, QueueHandle, Retries, Retry, Snooze, SyncJob
from tasuki.contracts.driver import Depth
from tasuki.contracts.state.jobs import Cancellation, CancelOutcome, JobStatus, Progress
from tasuki.drivers import NATS, SQS, Memory, PostgreSQL, RabbitMQ, Redis, SQLite
from tasuki.testing import Drained, TestApp


@dataclass
class Mail:
    to: str


@dataclass
class Note:
    text: str


app = App("memory://", namespace="shop")
mails = app.queue("mails", Mail, dead_letter="mails.dead", message_ttl=timedelta(hours=1), max_message_size="64KiB")
batches = app.queue("batches", list[Mail], dead_letter={"queue": mails, "max_attempts": 3})
either: QueueHandle[Mail | int] = app.queue("either", Mail | int, options={"max_length": 1000})
amqp = app.queue("amqp", Mail, driver_options={"amqp": {"queue_type": "classic"}, "nats": {"max_bytes": "1GiB"}})
limited = app.queue("limited", limit={"rate": "10/s", "concurrency": 3, "key": "header.tenant"}, fair="header.tenant")
limits = [app.queue("fast", limit="10/s"), app.queue("slow", limit=0.5, fair={"key": "key", "share": 2})]
both = app.queue("both", limit=["50/s", {"concurrency": 3, "key": "header.tenant"}])
untyped = app.queue("untyped", requires=["delay"], ordering="key")
pool = app.workers.pool("pool", [mails, "batches"], concurrency=4, order="weighted", weights={"mails": 3})
app.select(mails, "shop:mails", excluded=[batches], concurrency=8)

App(Memory())
App(SQLite(Path("a.db"), synchronous="normal", busy_timeout=timedelta(seconds=3)))
App(Redis("redis://h", durability="broker", claim_interval="2s", tls={"enabled": True, "ca": "ca.pem"}))
App(RabbitMQ("amqp://h", heartbeat=5, frame_size="64KiB", lifecycle={"start_timeout": "3s"}))
App(SQS(config="cloud", default_delay_seconds=timedelta(seconds=1)))
App(PostgreSQL("postgresql://h", pool_size=3, synchronous_commit="on"))
App(NATS(["nats://h", "nats://i"], replicas=3, storage="file"))
assert_type(App().entry("second", Redis(addrs=["h:1"], db=1)), str)

assert_type(mails, QueueHandle[Mail])
assert_type(batches, QueueHandle[list[Mail]])
assert_type(untyped, QueueHandle[Any])
assert_type(pool, str)


@mails.consumer(concurrency=4, retry={"initial_delay": "5s", "never": ["ValueError"]}, lifecycle={"auto_start": False})
async def send(mail: Mail, context: Context) -> int:
    if not mail.to:
        raise Retry(after="1s")
    if context.attempt == 1:
        raise Retry(at=datetime(2026, 4, 1, tzinfo=UTC))
    if context.attempt == 2:
        raise Snooze(timedelta(minutes=5), "later")
    if context.attempt == 3:
        raise Snooze(at=datetime(2026, 4, 1, tzinfo=UTC), reason="later")
    context.nack(timedelta(seconds=1))
    context.nack(at=datetime(2026, 4, 1, tzinfo=UTC))
    context.snooze(at=datetime(2026, 4, 1, tzinfo=UTC))
    await context.publish("notes", mail.to, at=datetime(2026, 4, 1, tzinfo=UTC), ttl=timedelta(days=1))
    return len(mail.to)


@batches.consumer
def send_all(mails: list[Mail], message: Message) -> None: ...


@mails.consumer(name="bulk", batch={"size": 100, "wait": timedelta(seconds=1)}, prefetch=200)
async def send_batch(mails: list[Mail], messages: list[Message], context: Context) -> list[Exception | None]:
    assert_type([one.message for one in context.batch], list[Message | None])
    assert_type(context.messages, list[Message])
    return [None if mail.to else Retry() for mail in mails]


@app.function("double")
async def double(number: int) -> int:
    return number * 2


@app.function
def half(number: int) -> float:
    return number / 2


jobs = app.queue("jobs", dead_letter="jobs.dead")
jobs.task_consumer(concurrency=4, prefetch=20)


async def forget(url: str, error: Exception) -> None: ...


@jobs.task
async def fetch(url: str, as_json: bool = False) -> Note:
    return Note(url)


@jobs.task(name="resize", retry=Retries(5, on=(OSError,), backoff="10s"), handler_timeout=timedelta(minutes=30))
def resize(context: Context, path: str, *, width: int) -> int:
    return width


@jobs.task(on_give_up=forget)
async def ping(message: Message, log: logging.Logger, url: str) -> None: ...


class Engine: ...


class Session:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine


@app.provide
def engine() -> Engine:
    return Engine()


@app.provide(scope="message", name="session")
async def session(engine: Engine) -> AsyncIterator[Session]:
    yield Session(engine)


@jobs.task(inject=Session, handler_timeout="5s")
async def store(session: Session, url: str) -> int:
    return len(url)


@jobs.task(inject=Engine)
def load(context: Context, engine: Engine, url: str) -> str:
    return url


@jobs.task(inject=(Engine, Session))
async def copy(engine: Engine, session: Session, *, url: str) -> None: ...


@app.on.start
def connect() -> None: ...


@app.on.done
async def count(moment: Moment) -> None:
    assert_type(moment.seconds, float | None)


@app.on.failed(queue=mails)
def report(moment: Moment) -> None:
    assert_type(moment.error, BaseException | None)


@app.on.give_up(task=fetch)
def report_nothing() -> None: ...


async def send_provided() -> None:
    assert_type(await store.publish("u"), Job[int])
    assert_type(await store.request(url="u"), int)
    assert_type(await store(Session(Engine()), "u"), int)
    assert_type(load.send("u"), SyncJob[str])
    assert_type(engine(), Engine)
    await count(Moment("done"))
    await copy.publish(url="u")


async def send_tasks() -> None:
    fetching = await fetch.publish("u", as_json=True)
    assert_type(fetching, Job[Note])
    assert_type(await fetching.result("5s"), Note)
    assert_type(await fetching.result(returns=dict[str, str]), dict[str, str])
    assert_type(await fetch.request("u"), Note)
    assert_type(await fetch("u"), Note)
    resizing = resize.send("p", width=3)
    assert_type(resizing, SyncJob[int])
    assert_type(resizing.result("5s"), int)
    assert_type(resizing.result(returns=Note), Note)
    assert_type(resizing.status(), JobStatus)
    assert_type(resizing.progress(), Progress | None)
    assert_type(resizing.cancel(), CancelOutcome)
    assert_type(await resize.request("p", width=3), int)
    assert_type(resize(_context(), "p", width=3), int)
    await ping.with_options(delay=timedelta(minutes=5), headers={"tenant": "x"}, key="k").publish("u")
    await ping.with_options(at=datetime.now(UTC) + timedelta(days=1)).publish("u")
    await jobs.publish_many([fetch.message("u"), resize.message("p", width=1)])


async def publish() -> None:
    assert_type(await send(Mail("ada"), _context()), int)
    assert_type(half(2), float)
    await double(2)
    kept = await mails.publish(Mail("ada"), unique="ada", unique_for="running")
    assert_type(kept.outcome, Literal["stored", "kept", "replaced", "extended"])
    await mails.publish(Mail("ada"), unique="ada", unique_for=timedelta(minutes=1), on_conflict="keep")
    assert_type(await mails.publish(Mail("ada"), {"source": "web"}, delay="5s", key="ada"), Job[Any])
    job = await mails.publish(Mail("ada"), delay=timedelta(minutes=5), publish_timeout=2)
    assert_type(await job.cancel(), CancelOutcome)
    assert_type(await job.status(), JobStatus)
    assert_type(await job.progress(), Progress | None)
    assert_type(await job.result(timedelta(seconds=5), returns=int), int)
    assert_type(await app.jobs.cancel(job.id, queue=mails), CancelOutcome)
    assert_type(await app.jobs.cancel_many([job.id], queue=mails), Cancellation)
    assert_type(app.jobs.get(job.id, queue=mails), Job[Any])
    assert_type(app.sync.jobs.get(job.id, queue=mails), SyncJob[Any])
    await mails.publish(Mail("ada"), at=datetime(2027, 1, 1, tzinfo=UTC))
    await mails.publish_many(
        [Mail("ada"), Envelope(body=Mail("eve"), delay=timedelta(minutes=1))], publish_timeout="5s"
    )
    await batches.publish([Mail("ada")])
    await either.publish(7)
    await untyped.publish({"anything": 1})
    assert_type(await mails.request(Mail("ada"), returns=int, reply_timeout="5s"), int)
    assert_type(await mails.request(Mail("ada"), returns=list[Mail], delay=1), list[Mail])
    assert_type(await app.request("shop:mails", {"to": "ada"}, returns=Note), Note)
    await app.publish(mails, Mail("ada"), priority=5)
    await app.publish("mails", {"to": "ada"}, ttl="1h")
    length: int = await untyped.request(1)
    print(length)


async def stores(context: Context) -> None:
    assert_type((await context.store("counts").entry("n"))["version"], str)
    assert_type(await context.store("counts").has("n"), bool)
    await context.store("counts").put("n", 1, ttl=timedelta(hours=1), if_version="2")
    assert_type((await app.store("counts").take("n", rate=1, burst=5)).tokens, int)
    assert_type(app.sync.store("counts").list("n")["items"][0]["key"], str)
    assert_type(context.sync.store("counts").delete("n"), bool)
    async with context.store("counts").holding("n", lease="30s", wait=1):
        pass


def from_another_package() -> None:
    app.entry("mariadb", "queue.driver.mariadb", {"url": "mariadb://localhost"})


def from_sync_code() -> None:
    assert_type(app.sync.publish(mails, Mail("ada"), delay="5s"), SyncJob[Any])
    assert_type(app.sync.dead.redrive("mails.dead", to=mails, where="age > 60", rate=5), int)
    assert_type(app.sync.queue(mails).depth(), Depth)
    assert_type(app.sync.queue(mails).peek(5), list[Message])
    app.sync.publish_many(mails, [Mail("ada"), Mail("eve")], publish_timeout=5)
    assert_type(app.sync.request(mails, Mail("ada"), returns=int), int)


async def in_a_test(t: TestApp) -> None:
    assert_type(await t.run(fetch, "u", as_json=True), Note)
    assert_type(await t.run(resize.with_options(headers={"tenant": "x"}), "p", width=3), int)
    assert_type(t.sync.run(fetch, "u"), Note)
    assert_type(await t.run(send, Mail("ada"), {"tenant": "x"}, attempt=2), Any)
    assert_type(TestApp(app, real=True, strict=True), TestApp)
    assert_type(t.published(mails), list[Mail])
    assert_type(t.messages(mails)[0].body, Mail)
    assert_type(t.waiting(mails)[0].due_in, float)
    assert_type((await t.drain()).done, int)
    assert_type(await t.advance(timedelta(days=1)), Drained)
    assert_type(await t.request(mails, Mail("ada"), returns=int, reply_timeout="5s"), int)
    t.provide(Session, Session(Engine()))
    assert_type(await t.publish(mails, Mail("ada"), delay="5s"), Job[Any])
    assert_type(t.sync.request(mails, Mail("ada"), returns=int), int)
    await t.run(send, Mail("ada"), attempt=2)
    with t.patch(app, "publish", ConnectionError, times=2) as patch:
        assert_type(patch.calls, int)


app.entry("store", "store.memory", max_size=100, cleanup_interval="5m")
app.entry("counts", "store.redis", driver="redis", store_name="counts")
app.entry("redis", "queue.driver.redis", url="redis://localhost", tls={"enabled": False}, durability="process")

if TYPE_CHECKING:

    def _context() -> Context: ...
