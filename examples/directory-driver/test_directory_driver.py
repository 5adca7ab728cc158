"""The conformance suite against the directory driver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from directory_driver.driver import DirectoryDriver
from directory_driver.settings import DirectorySettings

from tasuki.testing.conformance import DriverConformance, ShiftedClock


class TestDirectory(DriverConformance):
    def make_driver(self, place: Path, clock: ShiftedClock) -> DirectoryDriver:
        return DirectoryDriver("directory", DirectorySettings(path=str(place / "queues")), clock)

    @asynccontextmanager
    async def broken(self, place: Path) -> AsyncIterator[None]:
        """As if the disk were not mounted."""
        away = (place / "queues").rename(place / "away")
        try:
            yield
        finally:
            away.rename(place / "queues")
