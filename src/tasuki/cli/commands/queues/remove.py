"""``tasuki remove``: take single messages out of a queue."""

from __future__ import annotations

import click

from tasuki.cli.output import count
from tasuki.cli.tools.removing import Ask, removing
from tasuki.queues.queue import Queue

_IDS = click.Argument(["ids"], metavar="ID...", nargs=-1, required=True)


@removing("remove", _IDS, done="removed", report="{messages} removed from {queue}")
async def command(queue: Queue, ask: Ask, ids: tuple[str, ...]) -> int:
    """Remove the messages with these IDs from QUEUE, unless a consumer holds them. This cannot be undone.

    `tasuki peek` shows the ids.
    """
    ask(f"Remove the messages with {count(len(set(ids)), 'id')} from {queue.id} permanently?")
    return await queue.remove(ids)
