"""A shop that writes mails: when someone signs up, and a day later."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki import App, Reject

app = App()  # SQLite, in .tasuki beside pyproject.toml; in a test: memory


@dataclass
class Mail:
    to: str
    text: str


mails = app.queue("mails", Mail, dead_letter={"queue": "mails.dead", "max_attempts": 4})
outbox: list[str] = []


def deliver(mail: Mail) -> None:
    """Stands for a mail server."""
    outbox.append(f"{mail.text}, {mail.to}")


@mails.consumer(concurrency=4)
async def send(mail: Mail) -> None:
    if "@" not in mail.to:
        raise Reject(f"{mail.to!r} is no address")
    deliver(mail)


async def sign_up(address: str) -> None:
    await mails.publish(Mail(address, "Welcome"))
    await mails.publish(Mail(address, "How do you like it"), delay="1d")
