"""The queues of this project, and the handlers of their messages."""

import os
from dataclasses import dataclass
from logging import Logger

from tasuki import App

# SQLite in .tasuki/queue.db, beside pyproject.toml; QUEUE_URL=redis://localhost moves the queues to a broker.
app = App(os.environ.get("QUEUE_URL", "sqlite://"))


@dataclass
class Mail:
    """The body of a message: a body that does not fit is dead-lettered."""

    to: str
    subject: str = "Welcome"


mails = app.queue("mails", Mail, dead_letter="mails.dead")


@mails.consumer(concurrency=4)
async def send(mail: Mail, logger: Logger) -> None:
    """Send one mail; after an exception Tasuki calls again later, and dead-letters the message in the end."""
    logger.info("%s, %s!", mail.subject, mail.to)  # your mail server comes here
