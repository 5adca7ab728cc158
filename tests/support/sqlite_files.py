"""Backups of an SQLite file that is in use, and their restoration."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path


def backup(file: Path, to: Path) -> None:
    """Copy the file with SQLite's own backup (``.backup`` of its shell)."""
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def replace(backup: Path, file: Path) -> None:
    """Put a copy of the backup in place of the file and its log, also while processes have the file open."""
    copy = backup.with_suffix(".copy")
    copy.write_bytes(backup.read_bytes())
    for end in ("-wal", "-shm"):
        Path(f"{file}{end}").unlink(missing_ok=True)
    os.replace(copy, file)


def restore(backup: Path, file: Path) -> None:
    """Write the backup into the open file, in one transaction (``.restore`` of SQLite's shell)."""
    with closing(sqlite3.connect(backup)) as source, closing(sqlite3.connect(file)) as target:
        source.backup(target)
