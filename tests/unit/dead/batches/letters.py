"""Dead letters for tests."""

from __future__ import annotations

from typing import Any

from tasuki import App
from tasuki.contracts.driver import Outgoing


async def bury(app: App, *ids: str, queue: str = "app:jobs", error: str = "KeyError: 'a'", body: str = "{}") -> None:
    """Put dead letters."""
    now = app._runtime.clock.time()
    headers: dict[str, Any] = {"x_original_queue": queue, "x_dead_letter_reason": "rejected", "x_last_error": error}
    headers |= {"attempts": 3, "x_dead_letter_time": now, "tenant": "acme", "content_type": "json/plain"}
    letters = [Outgoing(id, body.encode(), dict(headers)) for id in ids]
    for start in range(0, len(letters), 500):
        assert not any(await app._runtime.queue("dead").forward(letters[start : start + 500]))


def many(number: int, prefix: str = "m") -> list[str]:
    """This many ids."""
    return [f"{prefix}{n:04}" for n in range(number)]


async def ids(app: App, queue: str) -> list[str]:
    """The ids of the waiting messages."""
    return [message.id for message in await app._runtime.queue(queue).peek(10_000)]
