"""The store that keeps the state of a queue of an app."""

from __future__ import annotations

from tasuki import App
from tasuki.contracts.state.store import Store
from tests.support.narrow import present


async def store_of(app: App, queue: str = "jobs") -> Store:
    return await present(app._runtime.live().state_of(f"app:{queue}")).store()
