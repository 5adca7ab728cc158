"""``queue.driver.sqlite``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import field_validator

from tasuki.fields.types import DRIVER_PREFIX, Config, DriverKind, Duration, LengthOptions, ProjectFile


class SQLiteSettings(Config):
    """Queues in a file: durable, and shared by the processes of one machine."""

    other_names: ClassVar = {"url": "did you mean 'path'?"}

    path: ProjectFile = ".tasuki/queue.db"
    """The database file; a relative path starts at the project's folder."""
    synchronous: Literal["full", "normal"] = "full"
    """full: a confirmed message survives a power loss; normal: it survives a crash of the process."""
    busy_timeout: Duration = 5.0
    """Longest wait for another process that is writing."""

    @field_validator("path")
    @classmethod
    def _is_no_url(cls, path: str) -> str:
        if "://" in path:
            raise ValueError("this is a URL; write the path alone, like queue.db or /var/lib/shop/queue.db")
        return path


def _place(config: SQLiteSettings, root: Path) -> str:
    return os.path.realpath(root / config.path)


KIND = DriverKind(
    DRIVER_PREFIX + "sqlite",
    SQLiteSettings,
    driver="tasuki.drivers.sqlite.driver:SQLiteDriver",
    queue_options=LengthOptions,
    place=_place,
)
