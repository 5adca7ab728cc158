"""The driver in code, with options that type checkers know."""

from __future__ import annotations

from typing import TypedDict, Unpack

from tasuki.drivers import DriverEntry


class DirectoryOptions(TypedDict, total=False):
    poll_interval: float | str
    durability: str


class Directory(DriverEntry):
    """Queues in a directory: ``App(Directory("queues", poll_interval="1s"))``."""

    def __init__(self, path: str | None = None, /, **options: Unpack[DirectoryOptions]) -> None:
        super().__init__("queue.driver.directory", options, path=path)
