"""Locating: where the messages of some ids are, held ones included, in one statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping

from tasuki.contracts.values import Where
from tasuki.drivers.sqlite.store.rows import names_text
from tasuki.drivers.sqlite.store.statements import NAMED

LOCATE = f"""
WITH found AS MATERIALIZED (
    {NAMED}
)
SELECT id, CASE
    WHEN seq IN (SELECT seq FROM held WHERE queue = :queue) THEN 0
    WHEN EXISTS (SELECT 1 FROM delayed d INDEXED BY delayed_by_seq WHERE d.seq = found.seq AND d.ready_at > :now) THEN 2
    ELSE 1 END AS place
FROM found ORDER BY place DESC
"""  # noqa: S608
"""The last row of an id counts."""
_NAMES: Mapping[int, Where] = {0: "held", 1: "ready", 2: "delayed"}


def locate(connection: sqlite3.Connection, queue: int, ids: Collection[str], now: float) -> dict[str, Where]:
    """Where the messages of these ids are; an id without a message is left out."""
    rows = connection.execute(LOCATE, {"queue": queue, "ids": names_text(ids), "now": now})
    return {id: _NAMES[place] for id, place in rows}
