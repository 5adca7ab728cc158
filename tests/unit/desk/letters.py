"""Dead letters for the tests of the desk."""

from __future__ import annotations

from typing import Any

from tasuki import App
from tasuki.contracts.driver import Outgoing


async def bury(app: App, *ids: str, error: str = "KeyError: 'a'", body: str | bytes = "{}", **headers: Any) -> None:
    """Put letters of ``app:mails`` into ``app:dead``, as a worker would."""
    about: dict[str, Any] = {
        "x_original_queue": "app:mails", "x_dead_letter_reason": "max_attempts", "x_last_error": error, "attempts": 3,
        "x_dead_letter_time": app._runtime.clock.time() - 60, "content_type": "json/plain",
    }  # fmt: skip
    letters = [Outgoing(id, body.encode() if isinstance(body, str) else body, about | headers) for id in ids]
    for start in range(0, len(letters), 500):
        assert not any(await app._runtime.queue("dead").forward(letters[start : start + 500]))


async def ids_in(app: App, queue: str) -> list[str]:
    """The ids of the waiting messages of a queue."""
    return [message.id for message in await app._runtime.queue(queue).peek(1000)]
