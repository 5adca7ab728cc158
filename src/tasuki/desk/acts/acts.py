"""The acts: each one is permitted, logged before and after, and carried out on its app's event loop."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec

from tasuki.app.schedules.statuses import publish_now
from tasuki.app.state.cancelling import cancel_in
from tasuki.app.state.pausing import Steering, Target, queue_of
from tasuki.consumers.fetching.window import MOST_CONCURRENCY
from tasuki.desk.acts.acknowledging import acknowledge
from tasuki.desk.acts.auditing import how, keep, record_of
from tasuki.desk.acts.bulk import VERBS, Bulk, begin, change
from tasuki.desk.acts.mending import other_queues, send, try_out, undo_edit
from tasuki.desk.acts.publishing import publish
from tasuki.desk.acts.rescheduling import reschedule
from tasuki.desk.acts.retrying import retry
from tasuki.desk.dead.board import Board
from tasuki.desk.dead.library import Library
from tasuki.desk.reading.counts import asked
from tasuki.desk.security.session import Session
from tasuki.desk.site import Site, problem_of
from tasuki.errors import PolicyDeniedError, TasukiError
from tasuki.observe.metrics import PROCESS
from tasuki.security.admin import AdminRights
from tasuki.units import parse_duration

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.state.pauses import Pausable

_log = logging.getLogger("tasuki.desk")
_DIGITS = 6
_LONGEST = 2000
"""Characters of the ids in a log line."""


@dataclass(frozen=True, slots=True)
class Order:
    """What one act is asked to do."""

    act: str
    kind: str
    """queue, consumer or schedule."""
    id: str
    """Of the entry."""
    message: str = ""
    """Id of a message."""
    place: int = 0
    """Where it was seen in its queue."""
    ids: Sequence[str] = ()
    """Of several messages, in place of one."""
    options: Mapping[str, Any] = field(default_factory=dict)
    bulk: Bulk | None = None
    """The act on many dead letters; None: it is about one message, or an entry."""

    @property
    def messages(self) -> Sequence[str]:
        """Ids of the messages that it is about."""
        return self.ids or ([self.message] if self.message else [])


@dataclass(frozen=True, slots=True)
class Done:
    """The key of the text that says what happened, and its values."""

    key: str
    values: Mapping[str, Any]


ACTS: Mapping[str, tuple[str, ...]] = {
    "pause": ("queue", "consumer", "schedule"),
    "resume": ("queue", "consumer", "schedule"),
    "run": ("schedule",),
    "cancel": ("queue",),
    "acknowledge": ("queue",),
    "reschedule": ("queue",),
    "scale": ("consumer",),
    "redrive": ("queue",),
    "purge": ("queue",),
    "move": ("queue",),
    "batch": ("queue",),
    "borrow": ("queue",),
    "export": ("queue",),
    "publish": ("queue",),
    "remove": ("queue",),
    "delete": ("queue",),
    "edit": ("queue",),
    "undo_edit": ("queue",),
    "dry_run": ("queue",),
}
"""Act → what it is done to. Its right is ``queue.admin.`` and its name, but for those in ``RIGHTS``.

``delete`` is about a whole queue, ``remove`` about dead letters, ``acknowledge`` about a silent worker of the queue:
its message is ``host:pid``.
"""
OF_QUEUES = frozenset({"purge", "delete"})
"""Acts that take all messages: an order for some of them is a mistake, which must not take the rest."""
RIGHTS: Mapping[str, str] = {"undo_edit": "edit", "export": "peek"}


FOR_PROGRAMS = frozenset({"publish", "delete", "remove", "move", "batch", "borrow", "export", "edit", "dry_run"})
"""Acts for which the pages have no question, or a page of their own."""


class Acts:
    """Carries out orders."""

    def __init__(self, site: Site, library: Library, board: Board) -> None:
        self._site, self._library, self._board = site, library, board
        self._rights: AdminRights | None = None
        self._verbs: Mapping[str, Callable[[Order, Session], Awaitable[Done]]] = {
            "pause": self._pause,
            "resume": self._resume,
            "run": self._run,
            "cancel": self._cancel,
            "acknowledge": self._acknowledge,
            "reschedule": self._reschedule,
            "scale": self._scale,
            "redrive": self._redrive,
            "purge": self._purge,
            "move": self._begin,
            "remove": self._begin,
            "batch": self._change,
            "borrow": self._borrow,
            "export": self._export,
            "publish": self._publish,
            "delete": self._delete,
            "edit": self._edit,
            "undo_edit": self._undo_edit,
            "dry_run": self._dry_run,
        }

    def queue_of(self, order: Order) -> str:
        """The queue that an order is about. Raises KeyError: there is no such entry."""
        project = self._site.project
        expected = f"queue.{order.kind}"
        if order.kind not in ACTS[order.act] or project.kinds[order.id].name != expected:
            raise KeyError(order.id)
        return queue_of(project, Target(_kind(order.kind), order.id))

    def rights(self) -> AdminRights:
        """What the project says now."""
        rights = self._site.live.rights.admin
        if self._rights is not rights:
            self._rights = rights
            for id in rights.ignored:
                _log.warning(
                    "desk: policy %s allows nothing at the desk, because it has no condition on the actor; for every "
                    "actor, add {field: actor.id, operator: exists}",
                    id,
                    extra={"policy": id},
                )
        return rights

    async def carry_out(self, order: Order, session: Session) -> Done:
        """Do it, and return what happened.

        Raises:
            PolicyDeniedError: the actor may not. KeyError: there is no such entry. ValueError: a field is wrong.
            TasukiError: it failed.
        """
        facts = {"act": order.act, "target": order.id, "actor": session.actor, "client": session.client}
        if order.message:
            facts["message_id"] = order.message
        if order.ids:
            facts["message_ids"] = " ".join(order.ids)[:_LONGEST]
        self.queue_of(order)
        if order.act in OF_QUEUES and (order.bulk is not None or order.messages):
            raise ValueError(f"{order.act} is about a whole queue, not about some of its messages")
        try:
            self.rights().require(session.actor, RIGHTS.get(order.act, order.act), order.id)
        except PolicyDeniedError:
            PROCESS.act(order.act, "denied")
            raise
        order = await self._named(order, session)
        if order.bulk is not None:
            facts["filter"] = order.bulk.text
        _log.info("desk: %s %s %s, by %s", order.act, order.kind, order.id, session.actor, extra=facts)
        try:
            done = await self._verbs[order.act](order, session)
        except (TasukiError, ValueError, LookupError) as error:
            _log.warning("desk: %s %s failed: %s", order.act, order.id, problem_of(error), extra=facts)
            if not isinstance(error, ValueError):  # a field that cannot be read: there was no act
                PROCESS.act(order.act, "denied" if isinstance(error, PolicyDeniedError) else "failed")
                await self._keep(order, session, error)
            raise
        PROCESS.act(order.act, "done")
        await self._keep(order, session, (done.key, done.values))
        result = {name: value for name, value in done.values.items() if isinstance(value, int | str)}
        _log.info("desk: %s %s done", order.act, order.id, extra={**facts, "result": result})
        return done

    async def _named(self, order: Order, session: Session) -> Order:
        """The order with the words of the group of letters that it is about: records are read by people."""
        bulk = order.bulk
        if bulk is None or bulk.ids or not self.rights().may(session.actor, "peek", order.id):
            return order
        words = await self._library.words_of(bulk.queue, bulk.by, bulk.group)
        return replace(order, bulk=replace(bulk, words=words))

    async def _keep(self, order: Order, session: Session, ended: Exception | tuple[str, Mapping[str, Any]]) -> None:
        record = record_of(session, order.act, order.id, order.messages, ended)
        record = msgspec.structs.replace(record, options=how(order.act, order.options, order.bulk))
        if order.bulk is not None:
            record = msgspec.structs.replace(record, filter=order.bulk.text)
        await keep(self._site, self.queue_of(order), record)

    async def _pause(self, order: Order, session: Session) -> Done:
        text = order.options.get("for", "").strip()
        seconds = parse_duration(text) if text else None
        reason = order.options.get("reason", "").strip()
        target = Target(_kind(order.kind), order.id)

        async def work(live: Assembly) -> None:
            await Steering(live, None, session.actor).pause(target, seconds, reason)

        await self._site.at(self.queue_of(order), work)
        return Done("done.pause", {"id": order.id})

    async def _resume(self, order: Order, session: Session) -> Done:
        target = Target(_kind(order.kind), order.id)

        async def work(live: Assembly) -> bool:
            return await Steering(live, None, session.actor).resume(target) is not None

        was_paused = await self._site.at(self.queue_of(order), work)
        return Done("done.resume" if was_paused else "done.not_paused", {"id": order.id})

    async def _run(self, order: Order, session: Session) -> Done:
        queue = self.queue_of(order)

        async def work(live: Assembly) -> str:
            on = live.queues[queue]
            await asked(on, lambda: on.driver.occupancy(on.spec.name))
            return await publish_now(live, order.id, None)

        id = await self._site.at(queue, work)
        return Done("done.run", {"id": order.id, "message": id})

    async def _cancel(self, order: Order, session: Session) -> Done:
        found = await self._site.at(order.id, lambda live: cancel_in(live, None, order.id, order.messages))
        if order.ids:
            return Done("done.cancel_several", {"waiting": found.waiting, "running": found.running,
                                                "missing": found.not_found + found.requested})  # fmt: skip
        key = {"waiting": "done.cancel.waiting", "running": "done.cancel.running"}.get(found.outcome)
        return Done(key or "done.cancel.other", {"message": order.message, "outcome": found.outcome})

    async def _acknowledge(self, order: Order, session: Session) -> Done:
        await acknowledge(self._site, order.message)
        return Done("done.acknowledge", {"message": order.message})

    async def _reschedule(self, order: Order, session: Session) -> Done:
        text = order.options.get("in", "").strip()
        seconds = parse_duration(text) if text else 0.0
        clock = self._site.reader.clock
        count = await self._site.at(order.id, lambda live: reschedule(live, order.id, order.messages, seconds, clock))
        return Done("done.reschedule" if seconds else "done.run_now", {"id": order.id, "n": count, "in": text})

    async def _scale(self, order: Order, session: Session) -> Done:
        text = str(order.options.get("concurrency", "")).strip()
        if text and not (text.isascii() and text.isdigit() and len(text) < _DIGITS):
            raise ValueError(f"a number from 0 to {MOST_CONCURRENCY}, or nothing, not {text!r}")
        number = int(text) if text else None

        async def work(live: Assembly) -> None:
            await Steering(live, None, session.actor).scale(order.id, number)

        await self._site.at(self.queue_of(order), work)
        return Done("done.scale_reset" if number is None else "done.scale", {"id": order.id, "concurrency": text})

    async def _redrive(self, order: Order, session: Session) -> Done:
        if order.bulk is not None:
            return await self._begin(order, session)
        clock = self._site.reader.clock
        to = await self._site.at(order.id, lambda live: retry(live, order.id, order.message, clock))
        return Done("done.redrive", {"message": order.message, "id": to})

    async def _begin(self, order: Order, session: Session) -> Done:
        bulk = order.bulk
        if bulk is None:
            raise LookupError(f"{order.act} is for many letters: open the dead-letter queue {order.id}")
        for right in bulk.rights:
            self.rights().require(session.actor, right, order.id)
        if bulk.to:  # else a right on one dead-letter queue would be one to publish anywhere
            self.rights().require(session.actor, order.act, bulk.to)
        batch = await self._site.at(order.id, lambda live: begin(live, bulk, session.actor))
        self._seen(order.id)
        return Done("done.batch", {"id": order.id, "batch": batch.id, "n": batch.total})

    async def _change(self, order: Order, session: Session) -> Done:
        id, verb = order.options["batch"], order.options["verb"]
        found = next(each for each in VERBS if each == verb)
        await self._site.at(order.id, lambda live: change(live, id, found, session.actor))
        self._seen(order.id)
        return Done(f"done.batch_{verb}", {"batch": id})

    async def _borrow(self, order: Order, session: Session) -> Done:
        window = await self._library.borrow(order.id, order.options.get("where", ""))
        return Done("done.borrow", {"id": order.id, "n": window.read})

    async def _export(self, order: Order, session: Session) -> Done:
        """It is in the audit before the first letter leaves: an export that is broken off was one too."""
        return Done("done.export", {"id": order.id})

    def _seen(self, queue: str) -> None:
        """Let the next viewers see what has changed."""
        self._library.forget(queue)
        self._board.forget()

    async def _purge(self, order: Order, session: Session) -> Done:
        async def work(live: Assembly) -> int:
            queue = live.queues[order.id]
            return await asked(queue, queue.purge)

        return Done("done.purge", {"id": order.id, "n": await self._site.at(order.id, work)})

    async def _publish(self, order: Order, session: Session) -> Done:
        done = await self._site.at(order.id, lambda live: publish(live, order.id, order.options))
        key = "done.publish" if done.outcome == "stored" else f"done.publish_{done.outcome}"
        return Done(key, {"id": order.id, "message": done.id})

    async def _delete(self, order: Order, session: Session) -> Done:
        async def work(live: Assembly) -> int:
            queue = live.queues[order.id]
            depth = await asked(queue, lambda: queue.driver.depth(queue.spec.name))
            await queue.driver.delete(queue.spec.name)
            return depth.message_count

        return Done("done.delete", {"id": order.id, "n": await self._site.at(order.id, work)})

    async def _edit(self, order: Order, session: Session) -> Done:
        options = order.options
        for id in other_queues(options["draft"], options["wanted"], self._site.queues):
            self.rights().require(session.actor, "edit", id)
        done = await send(self._site, options["draft"], options["wanted"], session, keep=options["keep"])
        return Done("done.edit", {"message": order.message, "new": done.id, "id": done.queue, "edited": done})

    async def _dry_run(self, order: Order, session: Session) -> Done:
        report = await try_out(self._site, order.options["message"], order.id, session)
        return Done("done.dry_run", {"message": order.message, "outcome": report.outcome, "report": report})

    async def _undo_edit(self, order: Order, session: Session) -> Done:
        id = await undo_edit(self._site, order.id, order.message, session)
        return Done("done.undo_edit", {"id": order.id, "message": id})


def _kind(text: str) -> Pausable:
    if text == "queue":
        return "queue"
    return "consumer" if text == "consumer" else "schedule"
