"""``queue.driver.sqlite``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Literal

from tasuki.kinds.drivers.driver import DriverConfig, driver_kind
from tasuki.kinds.fields import Duration, Text


class SqliteDriverConfig(DriverConfig):
    """Queues in a file: durable, and shared by the processes of one machine."""

    other_names: ClassVar = {"url": "did you mean 'path'?"}

    path: Text = ".tasuki/queue.db"
    """The database file; a relative path starts at the project's folder."""
    synchronous: Literal["full", "normal"] = "full"
    """full: a confirmed message survives a power loss; normal: it survives a crash of the process."""
    busy_timeout: Duration = 5.0
    """Longest wait for another process that is writing."""


def _place(config: SqliteDriverConfig, root: Path) -> str:
    return os.path.realpath(root / config.path)


KIND = driver_kind("sqlite", SqliteDriverConfig, "tasuki.drivers.sqlite:SQLiteDriver", place=_place)
