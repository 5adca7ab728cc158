"""An app whose every function has one mistake; test_signatures.py says which, by its name."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasuki import App, Context, Message, Moment, Retries

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass
class Mail:
    to: str


class Engine: ...


class Pool: ...


class Absent: ...


class Hen: ...


class Egg: ...


class OfMessage: ...


class OfProcess: ...


class Unsaid: ...


class ByMessage: ...


app = App("memory://")
queue = app.queue("queue", dead_letter="dead")
tasks = app.queue("tasks", dead_letter="dead")


@app.provide
async def pool() -> Pool:
    return Pool()


@app.provide
def engine() -> Engine:
    return Engine()


@queue.consumer
def not_annotated(mail: Mail, extra) -> None: ...  # type: ignore[no-untyped-def]


@queue.consumer
def two_bodies(first: Mail, second: Mail) -> None: ...


@queue.consumer
def missing_provider(mail: Mail, absent: Absent) -> None: ...


@queue.consumer
def unresolvable(mail: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@queue.consumer
def only_for_checkers(price: Decimal) -> None: ...


@queue.consumer
def no_body(thread: logging.Handler) -> None: ...


@queue.consumer
def generator(mail: Mail) -> Iterator[str]:
    yield mail.to


@queue.consumer
async def async_generator(mail: Mail) -> AsyncIterator[str]:
    yield mail.to


@queue.consumer
def sync_for_async(mail: Mail, pool: Pool) -> None: ...


@queue.consumer
def wrong_default(mail: Mail, engine: Engine = 5) -> None: ...  # type: ignore[assignment]


@queue.consumer
def wrong_context(mail: Mail, context: Context = "none") -> None: ...  # type: ignore[assignment]


@queue.consumer
class NotCallable:
    def handle(self, mail: Mail) -> None: ...


@queue.consumer
class NeedsArguments:
    def __init__(self, engine: Engine) -> None: ...

    def __call__(self, mail: Mail) -> None: ...


queue.consumer(name="builtin")(max)


@app.function
def called(first: int, second: int) -> int:
    return first + second


@queue.consumer(batch={"size": 10})
def not_a_list(mail: Mail) -> None: ...


@queue.consumer(batch={"size": 10})
def one_message(mails: list[Mail], message: Message) -> None: ...


@queue.consumer(batch={"size": 10})
def wrong_result(mails: list[Mail]) -> dict[str, int]:
    return {}


@tasks.task
def stars(*urls: str) -> None: ...


@tasks.task
def keywords(**options: str) -> None: ...


tasks.task(lambda url: None)


@tasks.task
def strange(thread: logging.Handler) -> None: ...


@tasks.task
async def yields(url: str) -> AsyncIterator[str]:
    yield url


@tasks.task(inject=Mail)
def not_provided(mail: Mail, url: str) -> None: ...


def by_position(url: str, /) -> None: ...


@tasks.task(on_give_up=by_position)
def given_up(url: str) -> None: ...


def unknown_parameter(address: str) -> None: ...


@tasks.task(on_give_up=unknown_parameter)
def given_up_too(url: str) -> None: ...


@tasks.task(retry=Retries(never=("ConectionError",)))
def unknown_error(url: str) -> None: ...


@tasks.task(retry=Retries(never=("json.DecodeError",)))
def unknown_member(url: str) -> None: ...


@app.provide
def hen(egg: Egg) -> Hen:
    return Hen()


@app.provide
def egg(hen: Hen) -> Egg:
    return Egg()


@app.provide(scope="message")
def of_message(context: Context) -> OfMessage:
    return OfMessage()


@app.provide
def too_long(inner: OfMessage) -> OfProcess:
    return OfProcess()


@app.provide
def no_message(message: Message) -> ByMessage:
    return ByMessage()


@app.provide
def unsaid():  # type: ignore[no-untyped-def]
    return Unsaid()


@app.provide
def too_common() -> str:
    return ""


@app.provide
def twice() -> Engine:
    return Engine()


@app.provide
def lacks(absent: Absent) -> Unsaid:
    return Unsaid()


@app.middleware
def not_async(body: Any, context: Context, handle: Any) -> Any: ...


@app.middleware
async def too_many(body: Any, context: Context, handle: Any, more: Any) -> Any: ...


@app.on.failed  # type: ignore[type-var]
def hook(queue: str, error: Exception) -> None: ...


@app.on.done(task="generatr")
def hook_of_no_task() -> None: ...


@app.on.begin
def hook_that_yields(moment: Moment) -> Iterator[None]:
    yield
