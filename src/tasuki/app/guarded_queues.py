"""Guarded queues: the queues that the application's own code, and the command line, may use."""

from __future__ import annotations

from tasuki.app.assembly import Assembly
from tasuki.queues.queue import Queue


def queue_of_application(assembly: Assembly, id: str) -> Queue:
    """The queue of an id, behind the application's guard if there is one.

    Raises:
        PolicyDeniedError: there is no such queue, and the application could not publish to it if there were.
        QueueNotFoundError: there is no such queue.
    """
    guard = assembly.rights.application
    if guard is None:
        return assembly.queue(id)
    if id not in assembly.queues:
        guard.publish(id)
    return assembly.queue(id).guarded_by(guard)


def queue_of_replies(assembly: Assembly, id: str) -> Queue:
    """The declared queue that the application receives replies from.

    Raises:
        PolicyDeniedError: the application may not consume from it, or not publish to it, as its requests cause replies.
        QueueNotFoundError: there is no such queue.
    """
    guard = assembly.rights.application
    if guard is not None:
        guard.consume(id)
        guard.publish(id)
    return assembly.queue(id)
