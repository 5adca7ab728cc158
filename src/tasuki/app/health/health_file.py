"""The health file: one JSON document, whose age alone tells a simple probe whether the process is live."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasuki.system.replacing import replacing, touch

PERIOD = 5.0
"""Seconds between two documents."""

STALE = 20.0
"""Seconds after which a document says nothing any more: the process hangs, or is gone."""

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
    return document if isinstance(document, dict) and isinstance(document.get("time"), int | float) else None


def reasons(document: Document | None, now: float) -> tuple[list[str], list[str]]:
    """Why the process behind a document is not live, and why it is not ready; empty lists if it is."""
    if document is None:
        return [], ["it has not started yet"]
    if (age := now - document["time"]) > STALE:
        silent = [f"no sign of life for {age:.0f} s"]
        return silent, silent
    why = document.get("why", {})
    return list(why.get("live", [])), list(why.get("ready", []))


def gathered(documents: Mapping[int, Document | None], now: float) -> dict[str, Any]:
    """One document for several processes, by number: live and ready if all of them are."""
    live: list[str] = []
    ready: list[str] = []
    for number, document in documents.items():
        not_live, not_ready = reasons(document, now)
        live += [f"process {number}: {reason}" for reason in not_live]
        ready += [f"process {number}: {reason}" for reason in not_ready]
    paused = dict.fromkeys(text for document in documents.values() for text in paused_in(document))
    processes = {str(number): document for number, document in documents.items()}
    return {**head(live, ready, now), "paused": list(paused), "processes": processes}


def paused_in(document: Document | None) -> list[str]:
    """The consumers of a document that are paused, each with the reason."""
    return [] if document is None else list(document.get("paused", []))


def head(live: list[str], ready: list[str], now: float) -> dict[str, Any]:
    """What each document begins with."""
    return {
        "pid": os.getpid(),
        "time": now,
        "live": not live,
        "ready": not ready,
        "why": {"live": live, "ready": ready},
    }
