"""A queue whose consumer doubles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tasuki import App, Reject

Make = Callable[..., App]


def double(app: App, name: str = "tasks", **fields: Any) -> list[Any]:
    """A queue with a consumer that doubles, and what it has seen."""
    seen: list[Any] = []
    tasks = app.queue(name, **fields)

    async def handle(body: Any) -> Any:
        seen.append(body)
        if isinstance(body, dict) and "sleep" in body:
            await asyncio.sleep(body["sleep"])
            return body["sleep"]
        if body == "bad":
            raise ValueError("bad")
        if body == "never":
            raise Reject("never")
        if body == "name":
            raise Reject("bad file \udcff")
        if body == "long":
            raise Reject("x" * 2_000_000)
        return body * 2

    handle.__name__ = f"handle_{name}"
    tasks.consumer(concurrency=4)(handle)
    return seen
