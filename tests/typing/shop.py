"""A whole application without a mistake; test_application.py plants twenty of them in it, one at a time."""

# pyright: strict

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tasuki import App, Context, Envelope, Handle, Moment, Observer, QueueHandle, Reject, Retries, Retry, Snooze
from tasuki.contracts.driver import Outgoing
from tasuki.drivers import Redis, SQLite
from tasuki.errors import DriverError
from tasuki.testing import TestApp

HOLIDAY = datetime(2026, 12, 1, 9, tzinfo=UTC)


@dataclass
class Order:
    number: int
    address: str
    paid: bool = False


@dataclass
class Receipt:
    number: int
    total: float


app = App(Redis("redis://localhost", durability="power", read_timeout=timedelta(seconds=20)), namespace="shop")
files = app.entry("files", SQLite("shop.db", synchronous="normal", busy_timeout="3s"))

orders = app.queue("orders", Order, dead_letter={"queue": "orders.dead", "max_attempts": 3}, message_ttl="1d")
sales = app.queue("sales", Order, driver=files, lease=timedelta(minutes=1))
jobs = app.queue("jobs", dead_letter="jobs.dead", retry={"initial_delay": "5s", "jitter": 0.2})
jobs.task_consumer(concurrency=4, prefetch=20, handler_timeout=timedelta(minutes=5))
pool = app.workers.pool("pool", [orders, sales], concurrency=8, order="weighted", weights={"orders": 3})


class Counter(Observer):
    """Counts the published messages."""

    published = 0

    def on_publish(self, queue: str, messages: Sequence[Outgoing], errors: Sequence[DriverError | None]) -> None:
        self.published += len(messages)


counter = Counter()
app.observers.append(counter)


@app.on.failed(queue=orders)
async def complain(moment: Moment) -> None:
    logging.warning("%s: %s", moment.name, moment.error)


@app.middleware
async def timed(body: Any, context: Context, handle: Handle) -> Any:
    return await handle(body, context)


@orders.consumer(concurrency=4, handler_timeout="30s", retry={"never": ["ValueError"]}, middleware=["timed"])
async def take(order: Order, context: Context) -> Receipt:
    if not order.address:
        raise Reject("an order without an address")
    if not order.paid:
        raise Snooze(at=HOLIDAY)
    await context.publish("jobs", {"number": order.number}, {"message_type": "mail"}, delay="5s", priority=9)
    return Receipt(order.number, 9.5)


@sales.consumer(batch={"size": 100, "wait": timedelta(seconds=1)})
async def count(batch: list[Order], context: Context) -> list[Exception | None]:
    return [None if order.paid else Retry(after="1m") for order in batch]


async def apologize(number: int, error: Exception, log: logging.Logger) -> None:
    log.warning("order %s: %s", number, error)


@jobs.task(retry=Retries(5, on=(OSError,), backoff=timedelta(seconds=10)), handler_timeout="1m", on_give_up=apologize)
async def mail(number: int, *, subject: str = "Your order") -> str:
    return f"{subject} {number}"


@jobs.task(name="invoice")
def print_invoice(context: Context, receipt: Receipt) -> str:
    return f"{receipt.number}: {receipt.total} ({context.attempt})"


async def from_the_web_site(queue: QueueHandle[Order], address: str) -> Receipt:
    await queue.publish(Order(1, address), key=address, ttl=timedelta(hours=2))
    await queue.publish_many([Order(2, address), Envelope(body=Order(3, address), delay="1h")], publish_timeout="5s")
    receipt = await queue.request(Order(4, address, paid=True), returns=Receipt, reply_timeout=10)
    length = len(await mail.with_options(headers={"tenant": "a"}).request(receipt.number, subject="Thank you"))
    await print_invoice.with_options(delay=timedelta(minutes=length)).publish(receipt)
    return receipt


def from_a_script() -> None:
    app.sync.publish(orders, Order(5, "ada"), at=HOLIDAY)
    mail.send(5)


async def try_it() -> int:
    """Publish one order to a twin of the application; returns how many messages were handled."""
    async with TestApp(app, strict=True) as t:
        await t.publish(orders, Order(6, "ada", paid=True))
        numbers: list[int] = [order.number for order in t.published(orders)]
        assert numbers == [6]
        return (await t.advance("1m")).done
