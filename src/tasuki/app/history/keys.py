"""Keys of minutes in a store: in the order of time, so that a reader lists the newest ones only; no I/O."""

from __future__ import annotations

PREFIX = "history/"
TTL = 7200.0
"""Seconds for which a minute is kept."""
WANTED = "history wanted"
"""A key that is there while anyone reads waits, which workers count then; until then they cost nothing."""
WANTED_TTL = 3600.0


def key_of(minute: int, process: str, part: int) -> str:
    """The key of one part of a process's minute."""
    return f"{before(minute)}{process}/{part}"


def before(minute: int) -> str:
    """A key before all of a minute, and after all of the minutes before it."""
    return f"{PREFIX}{minute:010d}/"


def process_of(key: str) -> str:
    """The process that wrote a key; empty: it is none of these."""
    parts = key.split("/")
    return parts[2] if len(parts) == 4 else ""
