"""A desk beside a busy worker of a shop, for the pictures of the documentation: an hour of history, some troubles."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tasuki import App
from tasuki.app.measuring.history import TTL, key_of
from tasuki.observe.history import Minute, Point, encode, sparse
from tasuki.observe.metrics import BUCKETS
from tests.support.desk_site import address_of
from tests.support.ports import free_port
from tests.support.process import Process, start

JOBS = """
import asyncio
from dataclasses import dataclass

from bank import charge_card
from tasuki import App, Context

app = App()
orders = app.queue("orders", dead_letter={"queue": "orders.dead", "max_attempts": 5})
payments = app.queue(
    "payments",
    limit="20/s",
    retry={"initial_delay": "200ms", "max_delay": "1s", "jitter": 0},
    dead_letter={"queue": "payments.dead", "max_attempts": 3},
)
mails = app.queue("mails")
thumbnails = app.queue("thumbnails", result={"ttl": "1h"})
app.queue("ticks")
reports = app.queue("reports", retry={"initial_delay": "5m", "max_delay": "1h"})
app.entry(
    "admins",
    "security.policy",
    policy={
        "actions": "queue.admin.*",
        "resources": "*",
        "effect": "allow",
        "conditions": [{"field": "actor.id", "operator": "exists"}],
    },
)


@dataclass
class Payment:
    order: int
    amount: float
    card: str
    currency: str = "EUR"


@orders.consumer(name="booking", concurrency=4)
async def book(order: dict) -> None:
    await asyncio.sleep(0.03)


@payments.consumer(name="charging", concurrency=4)
async def charge(payment: Payment, context: Context) -> None:
    await asyncio.sleep(0.12)
    await charge_card(payment.card, payment.amount)
    await context.publish("mails", {"template": "receipt", "order": payment.order})


@mails.consumer(name="sending", concurrency=4)
async def send(mail: dict) -> None:
    await asyncio.sleep(0.06)


@thumbnails.consumer(name="resizing", concurrency=3)
async def resize(image: dict, context: Context) -> None:
    for done in range(image["tiles"]):
        context.progress(done, image["tiles"], f"{image['path']}, tile {done}")
        await asyncio.sleep(1)


@reports.consumer(name="reporting")
async def report(what: dict) -> None:
    raise TimeoutError(f"warehouse did not answer for {what['of']} within 30 s")


@app.every("1h", queue="ticks", name="hourly-sales")
async def hourly() -> None: ...


@app.cron("0 9 * * mon-fri", tz="Asia/Tokyo", queue="ticks", name="morning-digest")
async def digest() -> None: ...
"""
BANK = '''
import os


class CardError(Exception):
    """The bank said no."""


async def charge_card(card: str, amount: float) -> None:
    if amount <= 0:
        raise CardError(f"amount {amount:.2f} is not positive")
    if card.startswith("9") and os.path.exists("bank.away"):
        raise ConnectionError("connection to bank.example:443 refused")
'''
CUSTOMERS = """
import asyncio
import itertools

from tasuki import App

app = App()
for name in ("orders", "payments", "thumbnails"):
    app.queue(name)


async def main() -> None:
    async with app:
        for number in itertools.count(20_000):
            await app.publish("orders", {"order": number, "items": number % 7 + 1})
            card = "9000" if number % 40 == 3 else f"{4000 + number % 900}"
            await app.publish("payments", {"order": number, "amount": number % 90 + 9.5, "card": card})
            await asyncio.sleep(0.11)


asyncio.run(main())
"""


@contextmanager
def shop(folder: Path) -> Iterator[str]:
    """The desk's address, once the first letters are there."""
    (folder / "bank.away").touch()
    for name, text in {"jobs.py": JOBS, "bank.py": BANK, "customers.py": CUSTOMERS}.items():
        (folder / name).write_text(text)
    port = free_port()
    with ThreadPoolExecutor(1) as thread:  # Playwright's loop runs in this one
        thread.submit(asyncio.run, _yesterday(folder)).result()
        with start(
            "run", "jobs:app", "--admin-open", "--admin", f"127.0.0.1:{port}", "--log-level", "info", folder=folder
        ) as worker:
            worker.wait_for("running; stop with", timeout=120)
            customers = Process((), folder, command=[sys.executable, "customers.py"])
            try:
                address = address_of(port)
                thread.submit(asyncio.run, _until_letters(folder)).result()
                yield address
            finally:
                customers.kill()


def _app(folder: Path) -> App:
    app = App(root=folder)
    for name in ("orders", "orders.dead", "payments.dead", "mails", "thumbnails", "reports"):
        app.queue(name)
    app.queue("payments", dead_letter="payments.dead")
    return app


async def _yesterday(folder: Path) -> None:
    """Publish what waits and fails, and write the last hour as another worker would have."""
    app = _app(folder)
    async with app:
        for number in range(4):
            await app.publish("thumbnails", {"path": f"sea-{number}.jpg", "tiles": 900})
        for number in range(46):
            await app.publish("thumbnails", {"path": f"hill-{number}.jpg", "tiles": 400}, {"tenant": f"t{number % 5}"})
        for number, delay in enumerate(("90s", "20m", "2h", "6h", "1d", "3d")):
            mail = {"template": "reminder", "order": 19_000 + number, "to": f"mika{number}@example.com"}
            await app.publish("mails", mail, delay=delay)
        for region in ("Kanto", "Kansai", "Kyushu"):
            await app.publish("reports", {"of": region})
        for number in range(3):
            await app.publish("payments", {"order": 18_000 + number, "amount": 0.0, "card": "4111"})
        for number in range(9):
            await app.publish("payments", {"order": 18_100 + number, "amount": 24.5, "card": "9000"})
        await _history(app)


async def _history(app: App) -> None:
    assert app._runtime.assembly is not None
    state = app._runtime.assembly.state_of("app:mails")
    assert state is not None
    store, this = await state.store(), int(app._runtime.clock.time() // 60)
    names = {each: app._runtime.queue(each) for each in ("orders", "payments", "mails")}
    for ago in range(-1, 62):  # also the minute of the pictures, which its processes have not written yet
        wave = 1 + 0.35 * math.sin(ago / 7) + 0.1 * math.sin(ago * 1.7)
        points: dict[str, dict[str, Point]] = {}
        for name, queue in names.items():
            done = int({"orders": 390, "payments": 380, "mails": 385}[name] * wave)
            trouble = 14 <= ago <= 22 and name == "payments"
            failed = done // 3 if trouble else done // 40 if name == "payments" else 0
            slow = {"orders": 5, "payments": 8 if trouble else 7, "mails": 6}[name]
            run = [0] * (len(BUCKETS) + 1)
            run[slow - 1], run[slow], run[slow + 1] = done // 5, done // 2, done // 20
            point = Point(
                done + failed, done, failed, failed // 9, 0, 2, sparse([*run[3:], 0, 0, 0]), sparse(run),
                [number for _ in range(12) for number in ((done + failed) // 12, done // 12, failed // 12)],
            )  # fmt: skip
            points.setdefault(queue.driver.name, {})[queue.spec.name] = point
        minute = Minute(this - ago, "shop-1", 4100, len(BUCKETS) + 1, points, consumes=True)
        [value] = encode(minute, 1 << 20)
        await store.put(key_of(minute.minute, "0123456789ab", 0), value, ttl=TTL)


async def _until_letters(folder: Path) -> None:
    """Wait until messages have died, and the rates of a worker are known."""
    app = _app(folder)
    async with app._runtime.reading():
        while (await app._runtime.queue("payments.dead").depth()).ready < 13:
            await asyncio.sleep(0.2)
        await asyncio.sleep(8)
    (folder / "bank.away").unlink()
