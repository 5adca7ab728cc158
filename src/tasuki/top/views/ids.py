"""Ids of messages in few cells."""

from __future__ import annotations

import re

from tasuki.desk.reading.bodies import line

_OURS = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-[0-9a-f]{4})-[0-9a-f]{4}-[0-9a-f]{12}")
"""A time, a number within it, and an end that all messages of a process share."""


def short_id(id: str) -> str:
    """What tells an id from those around it: of ours the middle; others are cut where they are shown."""
    found = _OURS.fullmatch(id)
    return found[1] if found else line(id, 60)
