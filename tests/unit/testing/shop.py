"""An application to be tested: a module-level app on a broker that is not there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tasuki import App, Context, Reject, Retry, Snooze

app = App("redis://localhost:1")


@dataclass
class Mail:
    to: str


class Smtp:
    sent: list[str]

    def __init__(self) -> None:
        self.sent = []

    def send(self, to: str) -> None:
        self.sent.append(to)


smtp = Smtp()
mails = app.queue("mails", Mail, dead_letter={"queue": "mails.dead", "max_attempts": 3}, durability="power")
jobs = app.queue("jobs", dead_letter="jobs.dead")
threaded = app.queue("threaded", int)
archive = app.queue("archive", str)
ordered = app.queue("ordered", str, ordering="key")
calls: list[str] = []


@mails.consumer(concurrency=2)
async def send(mail: Mail, context: Context) -> str:
    smtp.send(mail.to)
    await archive.publish(mail.to)
    return f"sent to {mail.to} at attempt {context.attempt}"


@jobs.consumer(handler_timeout="30s")
async def work(job: str) -> str:
    calls.append(job)
    if job == "reject":
        raise Reject("not today")
    if job == "snooze" and calls.count("snooze") == 1:
        raise Snooze("10m")
    if job == "retry" and calls.count("retry") == 1:
        raise Retry(after="2h")
    if job == "break":
        raise ValueError("broken")
    if job == "hang":
        await asyncio.Event().wait()
    if job == "loop":
        await jobs.publish("loop")
    return job.upper()


@threaded.consumer
def count(n: int) -> int:
    """In a thread."""
    calls.append(str(n))
    if n:
        app.sync.publish(threaded, n - 1)
    return 2 * n


@ordered.consumer
async def note(text: str) -> None:
    calls.append(text)


async def sign_up(to: str) -> None:
    await mails.publish(Mail(to), delay="1d", key="k")
