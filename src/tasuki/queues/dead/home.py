"""Home: the queue that a dead letter goes back to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tasuki.message import ORIGINAL_QUEUE, Message

if TYPE_CHECKING:
    from tasuki.queues.queue import Queue


def home_of(letter: Message, dead: Queue, queues: Mapping[str, Queue]) -> Queue | None:
    """The queue that a letter of ``dead`` says it is from, if its dead letters do go there; else None.

    A publisher writes any header: without this, a letter could choose the queue into which an operator sends it.
    """
    queue = queues.get(str(letter.headers.get(ORIGINAL_QUEUE, "")))
    return queue if queue is not None and queue.policy.dead_letter == dead.id else None


def homeless(letter: Message, dead: Queue) -> str:
    """Why a letter has no home, and the remedy."""
    name = str(letter.headers.get(ORIGINAL_QUEUE, ""))
    return (
        f"message {letter.id} says that it comes from queue {name or '(none)'}, which is not one of this project with "
        f"{dead.id} as its dead_letter; say where it is to go (to)"
    )
