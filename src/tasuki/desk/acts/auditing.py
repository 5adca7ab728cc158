"""Auditing: the record of an act of the desk, the store that keeps it, and the last acts of all stores."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from tasuki.app.state.auditing import RIGHT, acts_of, ids_text, in_short, note, seen, shown, targets_of
from tasuki.desk.acts.bulk import ACT_OF, Bulk
from tasuki.desk.security.sessions import ActorSession
from tasuki.desk.site import AwayError, Site
from tasuki.security.admin import AdminRights
from tasuki.state.audit import MOST, AuditRecord

_TOLD = {"concurrency": "concurrency", "for": "for", "reason": "reason:", "in": "in", "verb": ""}
"""Options that the record of an act has, and what stands before each."""
_log = logging.getLogger("tasuki.desk")


def how(act: str, options: Mapping[str, Any], bulk: Bulk | None) -> str:
    """How an act was to be done, as its record says: the options that were given; empty: none."""
    if bulk is not None:
        found = _of_many(bulk)
    else:
        asked = ((word, str(options.get(name, "")).strip()) for name, word in _TOLD.items())
        found = [f"{word} {text}".strip() for word, text in asked if text]
        if act == "scale" and not found:
            found = ["as declared"]
        if act == "edit":
            found = [f"to {options['draft'].to}"]
    return shown(", ".join(found))


def _of_many(bulk: Bulk) -> list[str]:
    if bulk.act not in ACT_OF:
        return []
    rate = "as fast as possible" if bulk.fast else f"rate {bulk.rate}/s"
    canary = [f"canary {bulk.canary}"] if bulk.act == "redrive" and bulk.canary.strip() else []
    return [*([f"to {bulk.to}"] if bulk.to else []), rate, *canary]


async def keep(site: Site, queue: str, record: AuditRecord) -> None:
    """Keep the record of an act in the store of its queue. It never raises: the log has a warning instead."""
    try:
        await site.at(queue, lambda live: note(live, queue, record))
    except (AwayError, KeyError) as error:
        _log.warning("desk: the audit lacks %s %s: %s", record.act, record.target, error)


def record_of(
    session: ActorSession, act: str, target: str, ids: Sequence[str], ended: Exception | tuple[str, Mapping[str, Any]]
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


async def last_acts(site: Site, rights: AdminRights, actor: str, word: str = "") -> tuple[Sequence[AuditRecord], int]:
    """The acts with this word that an actor may see, the newest first, and how many others the actor may not see.

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
    known, hidden = seen(newest, lambda id: rights.may(actor, RIGHT, id))
    return [each for each in known if word.lower() in _words_of(each).lower()], hidden


def _words_of(act: AuditRecord) -> str:
    return f"{act.actor} {act.client} {act.act} {act.target} {act.batch} {act.options}"
