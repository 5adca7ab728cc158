"""Mistakes that both type checkers must report: each on its line, and nothing else."""

# pyright: strict

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from tasuki import App, Context, Envelope, Retries, Retry, Snooze
from tasuki.drivers import NATS, SQS, Memory, PostgreSQL, RabbitMQ, Redis, SQLite
from tasuki.testing import TestApp


@dataclass
class Mail:
    to: str


@dataclass
class Note:
    text: str


NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)
app = App("memory://")
mails = app.queue("mails", Mail)

app.queue("one", Mail, dead_leter="one.dead")  # mistake: a misspelt field
app.queue("two", max_length="many")  # mistake: a field of another type
app.queue("three", overflow="drop")  # mistake: a choice that there is not
app.queue("four", limit={"rates": "10/s"})  # mistake: a misspelt field of a limit
app.queue("five", fair={"share": 2})  # mistake: turns without a key
app.queue("four", dead_letter={"queue": "dead", "attempts": 3})  # mistake: a misspelt field within a field
app.queue("five", driver_options={"amqp": {"queue_typ": "classic"}})  # mistake: a misspelt option of a driver
app.queue("six", driver_options={"nats": {"replicas": "three"}})  # mistake: a driver's option of another type
app.queue("seven", Mail("ada"))  # mistake: a body where its type is wanted
app.workers.pool("pool", [mails], concurency=4)  # mistake: a misspelt field of shared workers
app.workers.pool("pool", [mails], concurrency=4, order="random")  # mistake: an order that there is not
app.select(mails, concurency=4)  # mistake: a misspelt option of a choice
App(Redis("redis://h", durabilty="broker"))  # mistake: a misspelt option of a driver
App(Redis("redis://h", durability="forever"))  # mistake: a level that there is not
App(SQLite(synchronous="off"))  # mistake: a choice that the driver does not have
App(RabbitMQ(heartbeat=[5]))  # mistake: a driver's option of another type
App(PostgreSQL("postgresql://h", tls={"enable": True}))  # mistake: a misspelt field within an option
App(NATS(3))  # mistake: an address of another type
App(SQS("cloud"))  # mistake: an address for a driver without one
App(Memory(path="a.db"))  # mistake: an option of another driver
App(Redis)  # mistake: the class itself where a driver is wanted
app.entry("second", SQLite(3))  # mistake: a path of another type
app.entry("store", "store.memory", max_sise=10)  # mistake: a misspelt field of an entry


@mails.consumer(concurrency=4)
async def send(mail: Mail) -> int:
    return len(mail.to)


mails.consumer(concurency=4)(send)  # mistake: a misspelt option of a consumer
mails.consumer(handler_timeout=[1])(send)  # mistake: an option of a consumer of another type
mails.consumer(batch={"sise": 100})(send)  # mistake: a misspelt field of a batch
mails.consumer(batch=100)(send)  # mistake: a batch without its field
mails.consumer(send)(Note("x"))  # mistake: a decorated function keeps its parameters


@mails.task
async def fetch(url: str, as_json: bool = False) -> int:
    return len(url)


@mails.task(name="resize", retry=Retries(5))
def resize(context: Context, path: str, *, width: int) -> int:
    return width


mails.task(retries=Retries(5))  # mistake: a misspelt rule of a task
mails.task(retry=5)  # mistake: a number where retry rules are wanted
mails.task(timeout=[1])  # mistake: a rule of another type
Retries("five")  # mistake: attempts that are no number
Retries(5, on=("OSError", 3))  # mistake: an error that is none
mails.workers(concurency=4)  # mistake: a misspelt option of the workers


class Engine: ...


@app.provide(scope="request")  # mistake: a scope that there is not
def make_engine() -> Engine:
    return Engine()


@mails.task(inject=Engine)
async def store(engine: Engine, url: str) -> None: ...


@app.on.failed  # mistake: a hook of two arguments
def failed(queue: str, error: Exception) -> None: ...


app.on.done(queu="mails")  # mistake: a misspelt option of a hook
mails.task(inject="Engine")  # mistake: a text where a type is wanted


async def send_tasks() -> None:
    await fetch.publish(1)  # mistake: an argument of another type
    await fetch.publish()  # mistake: an argument that is missing
    await fetch.publish("u", as_jsn=True)  # mistake: a misspelt argument
    await fetch.publish("u", True, 3)  # mistake: an argument too many
    await resize.publish("p")  # mistake: an argument that is missing after an injected one
    resize.send("p", width="3")  # mistake: an argument of another type, from sync code
    await resize.publish(None, "p", width=3)  # mistake: an argument for an injected parameter
    await fetch.with_options(dealy="5s").publish("u")  # mistake: a misspelt option of a task's message
    await fetch.with_options(at="tomorrow").publish("u")  # mistake: a time that is a text
    fetch.message(2)  # mistake: an argument of another type in a call to be sent later
    await store.publish(Engine(), "u")  # mistake: an argument for a provided parameter
    await store.publish(2)  # mistake: an argument of another type, after a provided parameter
    number: str = await fetch.request("u")  # mistake: a result of another type
    resize("p", width=3)  # mistake: calling the function itself without the injected parameter
    print(number)


async def publish() -> None:
    text: str = await send(Mail("ada"))  # mistake: a decorated function keeps its result
    await mails.publish(Note("hello"))  # mistake: a body of another type
    await mails.publish(Mail("ada"), dealy="5s")  # mistake: a misspelt option of a message
    await mails.publish(Mail("ada"), unique="ada", on_conflict="drop")  # mistake: a conflict that is settled otherwise
    await mails.publish(Mail("ada"), priority="high")  # mistake: an option of a message of another type
    await mails.publish_many([Mail("ada"), Note("hello")])  # mistake: a body of another type among many
    await mails.publish_many([Envelope(body=Note("hello"))])  # mistake: an envelope with a body of another type
    await app.publish(mails, Note("hello"))  # mistake: a body of another type, through the app
    await app.publish("mails", Mail("ada"), dealy="5s")  # mistake: a misspelt option, through the app
    answer: str = await mails.request(Mail("ada"), returns=int)  # mistake: a result of another type
    await mails.request(Mail("ada"), returns="int")  # mistake: a text where a type is wanted
    await mails.request(Mail("ada"), ttll=1)  # mistake: a misspelt option of a request
    print(text, answer)


async def handler(body: int, context: Context) -> None:
    Snooze()  # mistake: a snooze without a time
    Snooze("5s", at=NOON)  # mistake: a delay and a time
    Retry(after="5s", at=NOON)  # mistake: a delay and a time
    Retry(at="noon")  # mistake: a time that is a text
    Snooze(after=[5])  # mistake: a delay of another type
    context.nack("5s", at=NOON)  # mistake: a delay and a time
    context.snooze(NOON)  # mistake: a time where a delay is wanted
    await context.publish("mails", 1, dealy="5s")  # mistake: a misspelt option, through a context
    await app.close(NOON)  # mistake: a time where a duration is wanted


async def stores(context: Context) -> None:
    await context.store("counts").put("n", 1, if_absent=True)  # mistake: a misspelt option of a store
    context.sync.store("counts").set("n", 1, ttl=NOON)  # mistake: a time where a duration is wanted, in a store


async def in_a_test(t: TestApp) -> None:
    await t.run(fetch, 3)  # mistake: an argument of another type, in a test
    await t.run(fetch, "u", as_jsn=True)  # mistake: a misspelt argument, in a test
    number: str = await t.run(fetch, "u")  # mistake: a result of another type, in a test
    TestApp(app, reel=True)  # mistake: a misspelt option of a test
    print(number)


def from_sync_code() -> None:
    app.sync.publish(mails, Note("hello"))  # mistake: a body of another type, from sync code
    number: int = app.sync.request(mails, Mail("ada"), returns=str)  # mistake: a result of another type
    print(number)
