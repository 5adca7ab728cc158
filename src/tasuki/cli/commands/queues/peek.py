"""``tasuki peek``: waiting messages, untouched."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.exits import CommandError
from tasuki.cli.options import json_option, project_options, secrets_option
from tasuki.cli.output import age, preview, print_json, print_table
from tasuki.cli.project import Target
from tasuki.cli.tools.message import as_dict, peek, readable
from tasuki.cli.tools.queues import on_queue
from tasuki.message import (
    ATTEMPT_RECORDS,
    CAUSE,
    DEAD_LETTER_TIME,
    ERROR_TYPE,
    LAST_ERROR,
    LAST_ERROR_TIME,
    LAST_TRACEBACK,
    PLACE,
    TIMESTAMP,
)
from tasuki.observe.plain import cut

if TYPE_CHECKING:
    from tasuki.queues.queue import Queue


@click.command("peek")
@click.argument("queue")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, help="Most messages to show.")
@secrets_option
@json_option
@project_options()
def command(target: Target, queue: str, limit: int, *, shows_secrets: bool, as_json: bool) -> None:
    """Show the first messages of QUEUE without taking them: those that are ready, then the delayed ones."""

    async def look(live: Queue) -> tuple[str, list[dict[str, Any]]]:
        if not live.driver.capabilities.has("peek"):
            other = "'tasuki info' counts them, and 'tasuki dead' shows dead letters: it receives and releases them"
            raise CommandError(f"queue {live.id!r}: its broker shows no waiting messages; {other}")
        shown = await peek(live, limit)
        return live.id, [as_dict(live, each, is_short=not as_json, shows_secrets=shows_secrets) for each in shown]

    id, messages = on_queue(target, queue, look)
    if as_json:
        print_json(messages)
    elif messages:
        print_table(("ID", "AGE", "LAST ERROR", "HEADERS", "BODY"), [_row(message) for message in messages])
    else:
        click.echo(f"{id} has no waiting messages")


def _row(message: dict[str, Any]) -> tuple[Any, ...]:
    headers = dict(message["headers"])
    published_at = headers.pop(TIMESTAMP, None)
    error = headers.pop(LAST_ERROR, None)
    for name in (ATTEMPT_RECORDS, LAST_TRACEBACK, CAUSE, ERROR_TYPE, PLACE):  # `show` prints them, and `dead`
        headers.pop(name, None)
    failed_at = headers.pop(LAST_ERROR_TIME, headers.get(DEAD_LETTER_TIME))
    if error is not None:
        error = f"{cut(str(error), 60)} ({_age(failed_at)} ago)"
    body = preview(message["body"]) if "body" in message else "base64:" + message["body_base64"]
    shown = " ".join(f"{name}={value}" for name, value in readable(headers, time.time()).items())
    return message["id"], _age(published_at), error, shown, body


def _age(at: object) -> str | None:
    return age(time.time() - at) if isinstance(at, int | float) else None
