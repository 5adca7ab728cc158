"""What runs now: how far its handlers say they are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tasuki.app.state.jobs import read
from tasuki.contracts.state.jobs import Progress
from tasuki.desk.reading.snapshot import QueueRow
from tasuki.desk.site import BESIDE, Site
from tasuki.errors import TasukiError

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly

MOST = 50
"""Running messages that are shown."""


async def progress_of(site: Site, row: QueueRow) -> Mapping[str, Progress]:
    """Message → its progress, of a queue that keeps results; without those that have said nothing."""
    ids = [each.message.id for each in row.handlers[:MOST]]

    async def look(live: Assembly) -> dict[str, Progress]:
        records = await asyncio.gather(*(read(live, row.id, id) for id in ids))
        return {
            id: record.progress
            for id, record in zip(ids, records, strict=True)
            if record is not None and record.progress is not None
        }

    try:
        return await site.at(row.id, look, patience=BESIDE) if ids else {}
    except TasukiError:
        return {}  # the snapshot says which broker is away
