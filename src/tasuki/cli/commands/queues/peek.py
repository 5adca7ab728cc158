"""``tasuki peek``: waiting messages, untouched."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import age, preview, print_json, print_table
from tasuki.cli.project import Target
from tasuki.cli.tools.queues import on_queue
from tasuki.message import DEAD_LETTER_TIME, LAST_ERROR, LAST_ERROR_TIME, TIMESTAMP, Message
from tasuki.observe.plain import cut

if TYPE_CHECKING:
    from tasuki.queues.queue import Queue


@click.command("peek")
@click.argument("queue")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, help="Most messages to show.")
@json_option
@project_options()
def command(target: Target, queue: str, limit: int, *, as_json: bool) -> None:
    """Show the first messages of QUEUE without taking them: those that are ready, then the delayed ones."""

    async def look(live: Queue) -> tuple[str, list[dict[str, Any]]]:
        return live.id, [_as_dict(live, message) for message in await _peek(live, limit)]

    id, messages = on_queue(target, queue, look)
    if as_json:
        print_json(messages)
    elif messages:
        print_table(("ID", "AGE", "LAST ERROR", "HEADERS", "BODY"), [_row(message) for message in messages])
    else:
        click.echo(f"{id} has no waiting messages")


async def _peek(queue: Queue, limit: int) -> list[Message]:
    """In pages, because a driver gives at most ``max_batch`` at a time."""
    found: list[Message] = []
    page = queue.driver.capabilities.max_batch
    while len(found) < limit:
        more = await queue.peek(min(limit - len(found), page), len(found))
        found += more
        if not more:
            break
    return found


def _as_dict(queue: Queue, message: Message) -> dict[str, Any]:
    """``body`` is the decoded one; where it is bytes, or cannot be decoded, ``body_base64`` stands in its place."""
    from tasuki.errors import CodecError, InvalidBodyError

    shown: dict[str, Any] = {"id": message.id, "headers": message.headers}
    try:
        body = queue.decode(message)
    except (CodecError, InvalidBodyError):
        body = message.body
    if isinstance(body, bytes):
        return {**shown, "body_base64": base64.b64encode(body).decode()}
    return {**shown, "body": body}


def _row(message: dict[str, Any]) -> tuple[Any, ...]:
    headers = dict(message["headers"])
    published_at = headers.pop(TIMESTAMP, None)
    error = headers.pop(LAST_ERROR, None)
    failed_at = headers.pop(LAST_ERROR_TIME, headers.get(DEAD_LETTER_TIME))
    if error is not None:
        error = f"{cut(str(error), 60)} ({_age(failed_at)} ago)"
    body = preview(message["body"]) if "body" in message else "base64:" + message["body_base64"]
    shown = " ".join(f"{name}={value}" for name, value in headers.items())
    return message["id"], _age(published_at), error, shown, body


def _age(at: object) -> str | None:
    return age(time.time() - at) if isinstance(at, int | float) else None
