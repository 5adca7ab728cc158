"""Replace whole files, readable by their owner only; never follow a link that another user has planted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

OWNER_ONLY = 0o600
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def replacing(path: Path, mode: int = OWNER_ONLY) -> Iterator[TextIO]:
    """A new file to write within the block; after it the path leads to that file, with these permissions.

    If the block or the replacement fails, the old file stays. A reader sees the old file or the new one.

    Raises:
        OSError: the new file cannot be made, or the old one not be replaced.
    """
    fresh = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(fresh, _NEW, OWNER_ONLY)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            yield file
            os.fchmod(descriptor, mode)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def touch(path: Path) -> None:
    """Give a file the present time; a missing one is made.

    Raises:
        OSError: it cannot be made, or is a link that leads nowhere.
    """
    try:
        os.utime(path)
    except FileNotFoundError:
        os.close(os.open(path, _NEW, OWNER_ONLY))
