"""The header ``reply_to``: which queue it names, and whether a publisher may have replies sent there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tasuki.ids import resolve_id
from tasuki.message import REPLY_TO, HeaderValue

if TYPE_CHECKING:
    from tasuki.security.guard import Guard


def reply_queue_id(reply_to: str, queue: str) -> str:
    """The id that ``reply_to`` names in a message of ``queue``; a bare name is of that queue's namespace."""
    return resolve_id(reply_to, queue.partition(":")[0])


def check_reply_to(guard: Guard, queue: str, headers: Mapping[str, HeaderValue] | None) -> None:
    """Return if the headers of a message for ``queue`` name no reply queue, or one that the guard may publish to.

    The consumer answers with its own rights: without this check a publisher could have it write where the publisher
    itself may not.

    Raises:
        PolicyDeniedError: the guard may not publish to the reply queue.
    """
    reply_to = headers.get(REPLY_TO) if isinstance(headers, Mapping) else None
    if isinstance(reply_to, str):
        guard.publish(reply_queue_id(reply_to, queue))
