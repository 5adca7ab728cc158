"""The last acts of people and programs, from all stores of the installation."""

from __future__ import annotations

from tasuki.app.audit.audited import acts_of
from tasuki.desk.site import Site
from tasuki.state.audit.ring import MOST, AuditRecord


async def last_acts(site: Site) -> list[AuditRecord]:
    """The newest first. Raises AwayError, DriverError."""
    found: dict[AuditRecord, None] = {}
    for app, _ in site.parts():
        found |= dict.fromkeys(await site.on(app, acts_of))
    return sorted(found, key=lambda record: record.time, reverse=True)[:MOST]
