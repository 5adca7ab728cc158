"""The last acts of people and programs, from all stores of the installation."""

from __future__ import annotations

from collections.abc import Sequence

from tasuki.app.audit.audited import acts_of
from tasuki.app.audit.seeing import RIGHT, seen, targets_of
from tasuki.desk.site import Site
from tasuki.security.admin import AdminRights
from tasuki.state.audit.ring import MOST, AuditRecord


async def last_acts(site: Site, rights: AdminRights, actor: str) -> tuple[Sequence[AuditRecord], int]:
    """The acts that an actor may see, the newest first, and how many others there are.

    Raises:
        PolicyDeniedError: the actor may see the acts on no entry. AwayError, DriverError.
    """
    targets = targets_of(site.project)
    if targets and not rights.may_any(actor, RIGHT, targets):
        rights.require(actor, RIGHT, targets[0])
    found: dict[AuditRecord, None] = {}
    for app, _ in site.parts():
        found |= dict.fromkeys(await site.on(app, acts_of))
    newest = sorted(found, key=lambda record: record.time, reverse=True)[:MOST]
    return seen(newest, lambda id: rights.may(actor, RIGHT, id))
