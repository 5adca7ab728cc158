"""Auditing: the record of an act of the desk, and the store that keeps it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from tasuki.app.audit.audited import ids_text, in_short, note
from tasuki.desk.security.session import Session
from tasuki.desk.site import AwayError, Site
from tasuki.state.audit.ring import AuditRecord

_log = logging.getLogger("tasuki.desk")


async def keep(site: Site, queue: str, record: AuditRecord) -> None:
    """Keep the record of an act in the store of its queue. It never raises: the log has a warning instead."""
    try:
        await site.at(queue, lambda live: note(live, queue, record))
    except (AwayError, KeyError) as error:
        _log.warning("desk: the audit lacks %s %s: %s", record.act, record.target, error)


def record_of(
    session: Session, act: str, target: str, ids: Sequence[str], ended: Exception | tuple[str, Mapping[str, Any]]
) -> AuditRecord:
    """The record of an act that ended in an error, or with the key and the values of a text; it has no time yet."""
    batch, count = "", len(ids) or None
    if isinstance(ended, Exception):
        result = f"failed: {in_short(ended)}"
    else:
        key, values = ended
        result = key.removeprefix("done.").removeprefix(act).lstrip("._").replace("_", " ") or "done"
        number, batch = values.get("n"), str(values.get("batch", ""))
        count = number if isinstance(number, int) else count
    return AuditRecord(0.0, session.actor, session.client, act, target, ids_text(ids), count, result, batch)
