"""``tasuki purge``: empty a queue."""

from __future__ import annotations

from tasuki.cli.output import count
from tasuki.cli.tools.removing import Ask, removing
from tasuki.queues.queue import Queue


@removing("purge", done="purged", report="{messages} removed from {queue}")
async def command(queue: Queue, ask: Ask) -> int:
    """Remove all messages of QUEUE that no consumer holds. This cannot be undone."""
    depth = await queue.depth()
    about = "about " if depth.is_estimate else ""
    ask(f"Remove {about}{count(depth.waiting, 'message')} from {queue.id} permanently?")
    return await queue.purge()
