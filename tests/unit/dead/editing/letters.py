"""Dead letters to be edited."""

from __future__ import annotations

from tasuki import App
from tasuki.contracts.driver import Outgoing
from tasuki.message import HeaderValue, Message


async def bury(
    app: App, body: bytes, headers: dict[str, HeaderValue] | None = None, *, queue: str = "app:orders", id: str = "m"
) -> None:
    own: dict[str, HeaderValue] = {"x_original_queue": queue, "x_dead_letter_reason": "invalid", "attempts": 1}
    own |= {"content_type": "json/plain", "timestamp": 1_700_000_000, **(headers or {})}
    assert not any(await app._runtime.queue("dead").forward([Outgoing(id, body, own)]))


async def only(app: App, queue: str) -> Message:
    """The one waiting message, wherever it is stored."""
    [message] = await app._runtime.queue(queue).peek()
    return Message(message.id, message.body, message.headers)
