"""The entries of the app's real stores, read only: a dry run goes on from what is there."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tasuki.clock import SystemClock
from tasuki.contracts.driver import Driver
from tasuki.contracts.state.store import Entry, Store
from tasuki.errors import DriverError
from tasuki.kinds.build import build_driver, driver_settings
from tasuki.kinds.check.project import Project
from tasuki.testing.dry_run.recorder import Recorder

_LIMIT = 5.0
"""Seconds for one read."""
_MOST = 1_000
"""Entries of one list."""


class RealStores:
    """Opens a driver when the first of its stores is read. What cannot be read counts as absent, and is told."""

    def __init__(self, project: Project, recorder: Recorder) -> None:
        self._project = project
        self._recorder = recorder
        self._drivers: dict[str, Driver | None] = {}
        self._stores: dict[tuple[str, str], Store | None] = {}
        self._opening = asyncio.Lock()

    async def get(self, driver: str, name: str, key: str) -> Entry | None:
        """The entry of a key."""
        found = await self.list(driver, name, key)
        return next((entry for entry in found if entry.key == key), None)

    async def list(self, driver: str, name: str, prefix: str) -> list[Entry]:
        """The first entries of a prefix."""
        try:
            async with asyncio.timeout(_LIMIT):
                store = await self._store(driver, name)
                if store is None:
                    return []
                if (entry := await store.get(prefix) if prefix else None) is not None:
                    return [entry]
                return list((await store.list(prefix, limit=_MOST)).entries)
        except (DriverError, TimeoutError) as error:
            text = f"store {name} of {driver} cannot be read, so the dry run finds nothing in it: {error}"
            self._recorder.tell("warning", text=text)
            return []

    async def _store(self, driver: str, name: str) -> Store | None:
        async with self._opening:
            if (driver, name) not in self._stores:
                self._stores[driver, name] = None
                opened = await self._driver(driver)
                if opened is not None:
                    store = opened.store(name)
                    await store.open()
                    self._stores[driver, name] = store
            return self._stores[driver, name]

    async def _driver(self, id: str) -> Driver | None:
        """The open driver; None: it is in another process's memory, or its file does not exist yet."""
        if id not in self._drivers:
            self._drivers[id] = None
            driver = build_driver(self._project, id, SystemClock())
            if driver.capabilities.multi_process and self._is_there(id):
                await driver.open()
                self._drivers[id] = driver
        return self._drivers[id]

    def _is_there(self, id: str) -> bool:
        """Whether nothing need be made to read from it: a file, where it keeps one."""
        path = getattr(driver_settings(self._project, id), "path", None)
        return path is None or Path(path).exists()

    async def close(self) -> None:
        """Close what was opened."""
        for driver in self._drivers.values():
            if driver is not None:
                await driver.close()
