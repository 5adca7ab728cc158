"""Edit a dead letter, and try one out, on the event loop of its app."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from tasuki.app.dry_run.report import DryRun
from tasuki.app.dry_run.run import dry_run, entries, trial_of
from tasuki.app.dry_run.target import loading_of
from tasuki.dead.editing.building import Made, Wanted
from tasuki.dead.editing.edit import Draft, Edited, Editor
from tasuki.dead.editing.undo import Record, edit_of, edited_into
from tasuki.desk.reading.counts import asked
from tasuki.desk.site import BESIDE, AwayError, Site
from tasuki.errors import TasukiError
from tasuki.message import REPLY_TO

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.desk.security.sessions import Session
    from tasuki.message import Message

_MOST_EDITED = 2**20
"""Bytes of a body that is made a text for a form or a program, on the event loop."""
_busy = asyncio.Semaphore(1)
"""A dry run starts an interpreter: one at a time."""


def _editor(site: Site, live: Assembly, dead: str, session: Session) -> Editor:
    return Editor(live, dead, clock=site.reader._runtime.clock, actor=session.actor, is_permitted=True)


def other_queues(draft: Draft, wanted: Wanted, known: Collection[str]) -> list[str]:
    """The queues beside its own that an edit reaches: another target, and a changed queue for the reply."""
    reply_to = wanted.headers.get(REPLY_TO)
    found = [] if draft.to == draft.home else [draft.to]
    if isinstance(reply_to, str) and reply_to != draft.headers.get(REPLY_TO) and reply_to in known:
        found.append(reply_to)
    return found


async def draft_of(site: Site, dead: str, letter: Message, to: str | None, session: Session) -> Draft:
    """A letter as its form shows it. Raises QueueNotFoundError: it goes to no queue of this project."""

    async def work(live: Assembly) -> Draft:
        return _editor(site, live, dead, session).draft_of(letter, to, _MOST_EDITED)

    return await site.at(dead, work)


async def check(site: Site, draft: Draft, wanted: Wanted, session: Session) -> Made:
    """What an edit would send. Raises EditError."""
    return await site.at(
        draft.dead, lambda live: _editor(site, live, draft.dead, session).check(draft, wanted)
    )  # fmt: skip


async def send(site: Site, draft: Draft, wanted: Wanted, session: Session, *, keep: bool) -> Edited:
    """Edit a letter and send it. Raises what :meth:`tasuki.dead.editing.edit.Editor.send` raises."""

    async def work(live: Assembly) -> Edited:
        for id in (draft.dead, draft.to):
            queue = live.queue(id)
            await asked(queue, lambda queue=queue: queue.driver.occupancy(queue.spec.name))  # type: ignore[misc]
        return await _editor(site, live, draft.dead, session).send(draft, wanted, keep=keep)

    return await site.at(draft.dead, work)


async def edit_made(site: Site, dead: str, id: str) -> Record | None:
    """The edit of the last 15 minutes that made a message; None: there is none, or its store is silent."""
    try:
        return await site.at(dead, lambda live: edit_of(live, dead, id), patience=BESIDE)
    except TasukiError:
        return None


async def made_of(site: Site, dead: str, letter: str) -> tuple[str, str]:
    """The queue and the id of the message that an edit made of a letter; empty: none did, or its store is silent."""

    async def work(live: Assembly) -> tuple[str, str]:
        id = await edited_into(live, dead, letter)
        record = await edit_of(live, dead, id) if id else None
        return ("", "") if record is None else (record.to, id)

    try:
        return await site.at(dead, work, patience=BESIDE)
    except TasukiError:
        return "", ""


async def undo_edit(site: Site, dead: str, id: str, session: Session) -> str:
    """Bring the letter back whose edit made this message; its id. Raises LookupError, DriverError."""
    return await site.at(dead, lambda live: _editor(site, live, dead, session).undo(id))


async def try_out(site: Site, message: Message, queue: str, session: Session) -> DryRun:
    """A dry run of a message, in its own process.

    Raises:
        AwayError: another one is under way. HandlerError: no consumer of this project gets it. LifecycleError: the app
            cannot be loaded by another process.
    """
    app = site.app_for(queue)
    trial = trial_of(site.live, loading_of(app._runtime), message, queue, app._runtime.clock.time())

    async def answer(wanted: dict[str, Any]) -> Mapping[str, Any]:
        return await site.on(app, lambda live: entries(live, wanted))

    if _busy.locked():
        raise AwayError("another dry run is under way: wait until it is over")
    async with _busy:
        return await dry_run(trial, answer, actor=session.actor)
