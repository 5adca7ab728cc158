"""``queue.driver.directory``."""

from __future__ import annotations

import os

from tasuki.fields.types import DRIVER_PREFIX, Config, DriverKind, PositiveDuration, ProjectFile


class DirectorySettings(Config):
    """Queues in a directory."""

    path: ProjectFile = ".tasuki/queues"
    """The directory; a relative path starts at the project's folder."""
    poll_interval: PositiveDuration = 0.1
    """How often a waiting receive checks for messages of other processes."""


KIND = DriverKind(
    DRIVER_PREFIX + "directory",
    DirectorySettings,
    contract=6,
    driver="directory_driver.driver:DirectoryDriver",
    place=lambda settings, root: os.path.realpath(root / settings.path),
)
