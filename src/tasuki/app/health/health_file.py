"""The health file: one JSON document, whose age alone tells a simple probe whether the process is live."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasuki.system.replacing import replacing, touch

PERIOD = 5.0
"""Seconds between two documents, unless the health changes."""

Document = Mapping[str, Any]


def write(file: Path, document: Document, live_at: float) -> None:
    """Write a document; the file is as old as the last time that the process was live (Unix seconds).

    Raises:
        OSError: the file cannot be written.
    """
    is_live = document["live"]
    text = json.dumps(document) + "\n"
    if file.is_symlink() or not file.is_file():  # none of ours to replace: its age is what counts
        if is_live:
            touch(file)
        return
    try:
        with replacing(file) as fresh:
            fresh.write(text)
            if not is_live:
                fresh.flush()
                os.utime(fresh.fileno(), (live_at, live_at))
    except OSError:  # a read-only folder, a file that is mounted alone
        if is_live:
            touch(file)


def read(file: Path) -> Document | None:
    """The document in a file; None if there is none, or the file holds something else."""
    try:
        document = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and isinstance(document.get("time"), str) else None


def touched_at(file: Path) -> float:
    """Unix time at which the process was live last, as the age of the file tells; 0: there is no file."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
