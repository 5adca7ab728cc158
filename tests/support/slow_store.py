"""SlowStore: a store whose callers go on side by side: each verb lets the others run before it and after it."""

from __future__ import annotations

import asyncio
from typing import Any

from tasuki.contracts.state.store import Store


class SlowStore:
    """In place of a store in this process, whose verbs never wait, and so hide what two writers do to each other."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, verb: str) -> Any:
        async def call(*args: Any, **named: Any) -> Any:
            await asyncio.sleep(0)
            result = await getattr(self._store, verb)(*args, **named)
            await asyncio.sleep(0)
            return result

        return call
