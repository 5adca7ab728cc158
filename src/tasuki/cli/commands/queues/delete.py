"""``tasuki delete``: remove a queue from its broker."""

from __future__ import annotations

from tasuki.cli.output import count
from tasuki.cli.tools.removing import Ask, removing
from tasuki.queues.queue import Queue


@removing("delete", done="deleted", report="{queue} deleted with {messages}")
async def command(queue: Queue, ask: Ask) -> int:
    """Delete QUEUE at its broker with all its messages, held ones included. This cannot be undone.

    Stop its workers and publishers first: a process that still declares the queue makes it again.
    """
    info = await queue.info()
    messages, consumers = int(info["message_count"]), info["consumer_count"]
    used = f", from which {count(consumers, 'consumer')} still receive," if consumers else ""
    ask(f"Delete queue {queue.id}{used} with {count(messages, 'message')} permanently?")
    await queue.delete()
    return messages
