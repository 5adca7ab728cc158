"""Mending: edit one dead letter and send it, undo that, and try a message without any effect."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasuki.clock import Clock
from tasuki.desk.site import Site
from tasuki.workbench.dry_run.report import DryRun
from tasuki.workbench.dry_run.run import LIMIT, dry_run
from tasuki.workbench.editing.building import SAME, Wanted
from tasuki.workbench.editing.edit import Edited, Editor
from tasuki.workbench.letters import letter_of

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly


async def edit(live: Assembly, dead: str, id: str, options: Mapping[str, Any], actor: str, clock: Clock) -> Edited:
    """Send a letter with the changes of ``options``: ``body`` as JSON text, ``headers``, ``to``, ``keep``.

    Raises:
        EditError: the new message is not valid. LookupError: there is no such letter. TasukiError.
    """
    text = bytes(options.get("body", b"")).decode() or None
    editor = Editor(live, dead, clock=clock, actor=actor, is_permitted=True)
    draft = await editor.draft(id, options.get("to") or None)
    wanted = Wanted(SAME, text, options.get("headers", {}))
    return await editor.send(draft, wanted, keep=bool(options.get("keep")))


async def undo(live: Assembly, dead: str, id: str, actor: str, clock: Clock) -> str:
    """Bring the letter back whose edit made this message; its id. Raises LookupError, TasukiError."""
    return await Editor(live, dead, clock=clock, actor=actor, is_permitted=True).undo(id)


async def tried(site: Site, queue: str, id: str, actor: str) -> DryRun:
    """Call the handler of a message in a process of its own, which records what it would do.

    Raises:
        LookupError: no such message waits there. HandlerError: no consumer gets it. LifecycleError: no other process
            can load the app. AwayError, DriverError.
    """
    app = site.reader
    loading = app.loading()
    message = await site.at(queue, lambda live: letter_of(live.queues[queue], id))
    now = app.clock.time()

    async def work(live: Assembly) -> DryRun:
        return await dry_run(live, loading, message, queue, now=now, actor=actor)

    return await site.on(app, work, patience=LIMIT + 15)


def as_values(edited: Edited) -> dict[str, Any]:
    """What an edit says for the answer of its act."""
    found = dataclasses.asdict(edited)
    return {**found, "message": edited.id, "id": edited.queue, "warnings": list(edited.warnings)}
