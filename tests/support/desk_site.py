"""Desks as processes, for browsers: of a project without a queue, and of one with a thousand and hostile texts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasuki import App
from tasuki.contracts.driver import Outgoing
from tasuki.queues.dead.cause import cause_of
from tests.support.ports import free_port
from tests.support.process import start, wait_until

EMPTY = """
from tasuki import App

app = App()
"""
FULL = '''
import asyncio

from tasuki import App

app = App()
mails = app.queue("mails", dead_letter={"queue": "mails.dead", "max_attempts": 1})
app.queue("ticks")
reports = app.queue("reports", limit="10/s", retry={"initial_delay": "60s"})
for number in range(%(queues)s):
    app.queue(f"tenant-{number:04}.invoices-and-receipts")


@mails.consumer(name="sender", concurrency=4)
async def send(mail: dict) -> None:
    """Runs for as long as the test."""
    if "slow" in mail:
        await asyncio.sleep(3600)
    raise ConnectionError(f"connection to 10.0.0.7:5432 refused for {mail.get('to')}")


@reports.consumer(name="reporter")
async def report(body: object) -> None:
    raise ValueError("<script>alert('error')</script> no such table")


@app.every("1h", queue="ticks", name="hourly")
async def hourly() -> None: ...


@app.cron("0 9 * * mon-fri", tz="Asia/Tokyo", queue="ticks", name="weekdays")
async def weekdays() -> None: ...
'''
HOSTILE = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\u202egnp.exe\u2066", "x" * 3000,
    "日本語の本文です。" * 40,     "</pre><svg onload=alert(1)>", "&amp;&lt;", "{{ 7 * 7 }}", "\x1b[31mred",
)  # fmt: skip
QUEUE = "app:tenant-0000.invoices-and-receipts"
PURGED = "app:tenant-0004.invoices-and-receipts"
"""Has sixty messages, for a test to remove."""

PAGES = {
    "overview": "/",
    "queues": "/queues",
    "dead": "/dead",
    "workers": "/workers",
    "schedules": "/schedules",
    "topology": "/topology",
    "find": "/find",
}
"""Name → path of a page that every installation has."""
PAGES_OF_FULL = {
    **PAGES,
    "queues-sorted": "/queues?sort=ready&dir=down",
    "queue": f"/queues/{QUEUE}",
    "queue-running": "/queues/app:mails?tab=running",
    "queue-delayed": f"/queues/{QUEUE}?tab=delayed",
    "queue-history": "/queues/app:mails?tab=history",
    "queue-failed": "/queues/app:reports?tab=retrying",
    "queue-settings": "/queues/app:mails?tab=settings",
    "queue-dead": "/queues/app:mails.dead",
    "dead-letters": "/dead/app:mails.dead",
    "dead-type": "/dead?by=type",
    "dead-wrong": "/dead?where=age+%3C",
    "confirm-retry": "/dead/app:mails.dead/confirm?act=redrive",
    "confirm-delete": "/dead/app:mails.dead/confirm?act=remove&by=type&group=ConnectionError",
    "confirm-pause": "/confirm?act=pause&kind=queue&id=app:mails",
    "confirm-scale": "/confirm?act=scale&kind=consumer&id=app:sender",
    "found": "/find?q=body.invoice+%3C+5",
    "confirm-purge": f"/confirm?act=purge&kind=queue&id={QUEUE}",
    "not-found": "/queues/app:nothing",
}


@contextmanager
def empty(folder: Path) -> Iterator[str]:
    """A desk alone, of a project without a queue; its address."""
    (folder / "jobs.py").write_text(EMPTY)
    port = free_port()
    with start("desk", "jobs:app", "--admin-open", "--admin", f"127.0.0.1:{port}", folder=folder):
        yield address_of(port)


@contextmanager
def full(folder: Path, queues: int = 1000) -> Iterator[str]:
    """A desk beside a worker, with messages in every state; its address."""
    (folder / "jobs.py").write_text(FULL % {"queues": queues})
    port = free_port()
    with start(
        "run", "jobs:app", "--admin-open", "--admin", f"127.0.0.1:{port}", "--log-level", "info", folder=folder
    ) as worker:
        worker.wait_for("running; stop with", timeout=120)
        with ThreadPoolExecutor(1) as thread:  # Playwright's loop runs in this one
            thread.submit(asyncio.run, fill(folder)).result()
        yield address_of(port)


async def fill(folder: Path) -> None:
    """Publish messages that run, wait, are delayed, fail and die; return when they have."""
    app = App(root=folder)
    for name in ("mails", "reports", "mails.dead", QUEUE.removeprefix("app:"), PURGED.removeprefix("app:")):
        app.queue(name)
    async with app._runtime.reading():
        for text in HOSTILE:
            await app.publish(QUEUE, {"text": text, text[:40]: 1}, {"tenant": text, "message_type": text[:200]})
            await app.publish("mails", {"to": text})
            await app.publish("reports", {"text": text})
        for number in range(60):
            await app.publish(QUEUE, {"invoice": number, "password": "hunter2", "amount": 1234.50})
            await app.publish(PURGED, number)
        for number in range(3):
            await app.publish("mails", {"slow": number})
            await app.publish(QUEUE, {"later": number}, delay="2h")
        while (await app._runtime.queue("mails.dead").depth()).ready < len(HOSTILE):
            await asyncio.sleep(0.05)


def address_of(port: int) -> str:
    """The address of a desk, once it answers."""
    import urllib.request

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    wait_until(answers, "the desk", timeout=60)
    return f"http://127.0.0.1:{port}"


LETTERS = """
from tasuki import App

app = App()
billing = app.queue("billing", dead_letter={"queue": "billing.dead", "max_attempts": 1})
mails = app.queue("mails", dead_letter={"queue": "mails.dead", "max_attempts": 1})
app.queue("parked")
"""


@contextmanager
def letters(folder: Path) -> Iterator[str]:
    """A desk beside a worker, with several hundred dead letters of a few causes, and a batch; its address."""
    (folder / "jobs.py").write_text(LETTERS)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _bury(folder)).result()
    port = free_port()
    with start(
        "run", "jobs:app", "--admin-open", "--admin", f"127.0.0.1:{port}", "--log-level", "info", folder=folder
    ) as worker:
        worker.wait_for("running; stop with", timeout=120)
        yield address_of(port)


async def _bury(folder: Path) -> None:
    """Letters as workers leave them: the time of death is spread over the last hour and before."""
    app = App(root=folder)
    for name in ("billing.dead", "mails.dead"):
        app.queue(name)
    app.queue("billing", dead_letter="billing.dead")
    app.queue("mails", dead_letter="mails.dead")
    now = app._runtime.clock.time()
    async with app:
        for queue, number, error, place in (
            ("billing", 236, "ConnectError: connection to 10.0.0.7:{n} refused", "pay/bank.py:charge"),
            ("billing", 21, "CardError: card 'c-{n}' was declined", "pay/bank.py:charge"),
            ("billing", 3, "KeyError: 'iban'", "pay/account.py:iban_of"),
            ("mails", 14, "InvalidBody: field 'subject' is missing", "mail/send.py:deliver"),
            ("mails", 1, "<script>alert('error')</script> \u202e no such host", "mail/send.py:deliver"),
        ):
            batch: list[Outgoing] = []
            for at in range(number):
                origin = error.partition(":")[0] if not error.startswith("<") else "OSError"
                text = error.format(n=5000 + at)
                body = json.dumps({"invoice": 1000 + at, "amount": 12.5, "customer": {"name": "Sato", "password": "p"}})
                cause = cause_of("max_attempts", origin, place, text)
                headers: dict[str, Any] = {
                    "x_original_queue": f"app:{queue}", "x_dead_letter_reason": "max_attempts", "attempts": 5 - at % 4,
                    "x_dead_letter_time": now - (at * 11) % 3500 if number > 30 else now - 7200 - 900 * at,
                    "x_last_error": text, "x_error_type": origin, "x_place": place, "content_type": "json/plain",
                    "x_cause": cause, "partition_key": f"customer-{at % 9}", "x_consumer": f"app:{queue}.worker",
                    **({"x_redriven": 2} if at % 10 == 3 else {}),
                }  # fmt: skip
                batch.append(Outgoing(f"{queue[:3]}-{number:03}-{at:04}", body.encode(), headers))
            assert not any(await app._runtime.queue(f"{queue}.dead").forward(batch))
        begun = await app.dead.batches.begin("move", "mails.dead", to="billing", ids=["mai-014-0003"], rate=0)
        await app.dead.batches.wait(begun.id)


PAGES_OF_LETTERS = {
    "overview": "/",
    "queue": "/dead/app:billing.dead",
    "groups": "/dead",
    "group": "/dead/app:billing.dead?by=type&group=ConnectError",
    "confirm": "/dead/app:billing.dead/confirm?act=redrive&by=type&group=ConnectError&where=age+%3C+3600",
}
"""Of :func:`letters`."""
