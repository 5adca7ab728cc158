"""Keys of messages and limits in a store; no I/O."""

from __future__ import annotations

from hashlib import sha256

_MOST_BYTES = 200
"""Longest id that is in a key as it is: with the longest name of a queue it is a key that every store takes."""


def part_of(id: str) -> str:
    """The id of a message as the last part of a key: itself, or its digest where no store would take it."""
    content = id.encode("utf-8", "surrogatepass")
    return id if id.isprintable() and len(content) <= _MOST_BYTES else f"sha256 {sha256(content).hexdigest()}"


def limit_key(driver: str, queue: str) -> str:
    """The key of a queue's limit: queues of two drivers may have one name, and share a store.

    ``driver``: the id of its entry; ``queue``: its name at the broker.
    """
    return f"limit/{part_of(driver)}/{queue}"
