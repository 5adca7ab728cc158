"""The acts: each one is permitted, logged before and after, and carried out on its app's event loop."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from tasuki.app.schedules.statuses import publish_now
from tasuki.app.state.cancelling import cancel_in
from tasuki.app.state.pausing import Steering, Target, queue_of
from tasuki.consumers.fetching.window import MOST_CONCURRENCY
from tasuki.desk.acts.auditing import how, keep, record_of
from tasuki.desk.acts.bulk import VERBS, Bulk, begin, change
from tasuki.desk.acts.messages import acknowledge, other_queues, publish, reschedule, retry, send, try_out, undo_edit
from tasuki.desk.dead.library import Board, Library
from tasuki.desk.reading.rows import asked
from tasuki.desk.security.sessions import ActorSession
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
class ActResult:
    """The key of the text that says what happened, and its values."""

    key: str
    values: Mapping[str, Any]


class Acts:
    """Carries out orders."""

    def __init__(self, site: Site, library: Library, board: Board) -> None:
        self.site, self.library, self.board = site, library, board
        self._rights: AdminRights | None = None

    def queue_of(self, order: Order) -> str:
        """The queue that an order is about. Raises KeyError: there is no such entry."""
        project = self.site.project
        expected = f"queue.{order.kind}"
        if order.kind not in ACTS[order.act].kinds or project.kinds[order.id].name != expected:
            raise KeyError(order.id)
        return queue_of(project, Target(_kind(order.kind), order.id))

    def rights(self) -> AdminRights:
        """What the project says now."""
        rights = self.site.live.rights.admin
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

    async def carry_out(self, order: Order, session: ActorSession) -> ActResult:
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
        if order.act in _OF_QUEUES and (order.bulk is not None or order.messages):
            raise ValueError(f"{order.act} is about a whole queue, not about some of its messages")
        try:
            self.rights().require(session.actor, right_of(order.act), order.id)
        except PolicyDeniedError:
            PROCESS.act(order.act, "denied")
            raise
        order = await self._named(order, session)
        if order.bulk is not None:
            facts["filter"] = order.bulk.text
        _log.info("desk: %s %s %s, by %s", order.act, order.kind, order.id, session.actor, extra=facts)
        try:
            done = await ACTS[order.act].carry_out(self, order, session)
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

    async def _named(self, order: Order, session: ActorSession) -> Order:
        """The order with the words of the group of letters that it is about: records are read by people."""
        bulk = order.bulk
        if bulk is None or bulk.ids or not self.rights().may(session.actor, "peek", order.id):
            return order
        words = await self.library.words_of(bulk.queue, bulk.by, bulk.group)
        return replace(order, bulk=replace(bulk, words=words))

    async def _keep(
        self, order: Order, session: ActorSession, ended: Exception | tuple[str, Mapping[str, Any]]
    ) -> None:
        record = record_of(session, order.act, order.id, order.messages, ended)
        record = msgspec.structs.replace(record, options=how(order.act, order.options, order.bulk))
        if order.bulk is not None:
            record = msgspec.structs.replace(record, filter=order.bulk.text)
        await keep(self.site, self.queue_of(order), record)

    def forget(self, queue: str) -> None:
        """Let the next viewers see what has changed."""
        self.library.forget(queue)
        self.board.forget()


async def _pause(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    text = order.options.get("for", "").strip()
    seconds = parse_duration(text) if text else None
    reason = order.options.get("reason", "").strip()
    target = Target(_kind(order.kind), order.id)

    async def work(live: Assembly) -> None:
        await Steering(live, None, session.actor).pause(target, seconds, reason)

    await acts.site.at(acts.queue_of(order), work)
    return ActResult("done.pause", {"id": order.id})


async def _resume(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    target = Target(_kind(order.kind), order.id)

    async def work(live: Assembly) -> bool:
        return await Steering(live, None, session.actor).resume(target) is not None

    was_paused = await acts.site.at(acts.queue_of(order), work)
    return ActResult("done.resume" if was_paused else "done.not_paused", {"id": order.id})


async def _run(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    queue = acts.queue_of(order)

    async def work(live: Assembly) -> str:
        on = live.queues[queue]
        await asked(on, lambda: on.driver.occupancy(on.spec.name))
        return await publish_now(live, order.id, None)

    id = await acts.site.at(queue, work)
    return ActResult("done.run", {"id": order.id, "message": id})


async def _cancel(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    found = await acts.site.at(order.id, lambda live: cancel_in(live, None, order.id, order.messages))
    if order.ids:
        return ActResult("done.cancel_several", {"waiting": found.waiting, "running": found.running,
                                            "missing": found.not_found + found.requested})  # fmt: skip
    key = {"waiting": "done.cancel.waiting", "running": "done.cancel.running"}.get(found.outcome)
    return ActResult(key or "done.cancel.other", {"message": order.message, "outcome": found.outcome})


async def _acknowledge(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    await acknowledge(acts.site, order.message)
    return ActResult("done.acknowledge", {"message": order.message})


async def _reschedule(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    text = order.options.get("in", "").strip()
    seconds = parse_duration(text) if text else 0.0
    clock = acts.site.reader._runtime.clock
    count = await acts.site.at(order.id, lambda live: reschedule(live, order.id, order.messages, seconds, clock))
    return ActResult("done.reschedule" if seconds else "done.run_now", {"id": order.id, "n": count, "in": text})


async def _scale(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    text = str(order.options.get("concurrency", "")).strip()
    if text and not (text.isascii() and text.isdigit() and len(text) < _DIGITS):
        raise ValueError(f"a number from 0 to {MOST_CONCURRENCY}, or nothing, not {text!r}")
    number = int(text) if text else None

    async def work(live: Assembly) -> None:
        await Steering(live, None, session.actor).scale(order.id, number)

    await acts.site.at(acts.queue_of(order), work)
    return ActResult("done.scale_reset" if number is None else "done.scale", {"id": order.id, "concurrency": text})


async def _redrive(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    if order.bulk is not None:
        return await _begin(acts, order, session)
    clock = acts.site.reader._runtime.clock
    to = await acts.site.at(order.id, lambda live: retry(live, order.id, order.message, clock))
    acts.forget(order.id)
    return ActResult("done.redrive", {"message": order.message, "id": to})


async def _begin(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    bulk = order.bulk
    if bulk is None:
        raise LookupError(f"{order.act} is for many letters: open the dead-letter queue {order.id}")
    for right in bulk.rights:
        acts.rights().require(session.actor, right, order.id)
    if bulk.to:  # else a right on one dead-letter queue would be one to publish anywhere
        acts.rights().require(session.actor, order.act, bulk.to)
    batch = await acts.site.at(order.id, lambda live: begin(live, bulk, session.actor))
    acts.forget(order.id)
    return ActResult("done.batch", {"id": order.id, "batch": batch.id, "n": batch.total})


async def _change(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    id, verb = order.options["batch"], order.options["verb"]
    found = next(each for each in VERBS if each == verb)
    await acts.site.at(order.id, lambda live: change(live, id, found, session.actor))
    acts.forget(order.id)
    return ActResult(f"done.batch_{verb}", {"batch": id})


async def _borrow(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    window = await acts.library.borrow(order.id, order.options.get("where", ""))
    return ActResult("done.borrow", {"id": order.id, "n": window.read})


async def _export(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    """It is in the audit before the first letter leaves: an export that is broken off was one too."""
    return ActResult("done.export", {"id": order.id})


async def _purge(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    async def work(live: Assembly) -> int:
        queue = live.queues[order.id]
        return await asked(queue, queue.purge)

    return ActResult("done.purge", {"id": order.id, "n": await acts.site.at(order.id, work)})


async def _publish(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    done = await acts.site.at(order.id, lambda live: publish(live, order.id, order.options))
    key = "done.publish" if done.outcome == "stored" else f"done.publish_{done.outcome}"
    return ActResult(key, {"id": order.id, "message": done.id})


async def _delete(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    async def work(live: Assembly) -> int:
        queue = live.queues[order.id]
        depth = await asked(queue, lambda: queue.driver.depth(queue.spec.name))
        await queue.driver.delete(queue.spec.name)
        return depth.message_count

    return ActResult("done.delete", {"id": order.id, "n": await acts.site.at(order.id, work)})


async def _edit(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    options = order.options
    for id in other_queues(options["draft"], options["made"], acts.site.queues):
        acts.rights().require(session.actor, "edit", id)
    done = await send(acts.site, options["draft"], options["made"], session, keep=options["keep"])
    acts.forget(order.id)
    return ActResult("done.edit", {"message": order.message, "new": done.id, "id": done.queue, "edited": done})


async def _dry_run(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    report = await try_out(acts.site, order.options["message"], order.id, session)
    return ActResult("done.dry_run", {"message": order.message, "outcome": report.outcome, "report": report})


async def _undo_edit(acts: Acts, order: Order, session: ActorSession) -> ActResult:
    id = await undo_edit(acts.site, order.id, order.message, session)
    acts.forget(order.id)
    return ActResult("done.undo_edit", {"id": order.id, "message": id})


class Act(NamedTuple):
    """One act: how it is done, and the kinds of entries that it is done to."""

    carry_out: Callable[[Acts, Order, ActorSession], Awaitable[ActResult]]
    kinds: tuple[str, ...] = ("queue",)
    right: str = ""
    """Another one's right that it needs; empty: its own."""
    is_asked: bool = True
    """Whether the page of questions has one for it; others are for programs, or have a page."""


_ENTRIES = ("queue", "consumer", "schedule")
ACTS: Mapping[str, Act] = {
    "pause": Act(_pause, _ENTRIES),
    "resume": Act(_resume, _ENTRIES),
    "run": Act(_run, ("schedule",)),
    "scale": Act(_scale, ("consumer",)),
    "purge": Act(_purge),
    "delete": Act(_delete, is_asked=False),
    "publish": Act(_publish, is_asked=False),
    "acknowledge": Act(_acknowledge),
    "cancel": Act(_cancel),
    "reschedule": Act(_reschedule),
    "redrive": Act(_redrive),
    "move": Act(_begin, is_asked=False),
    "remove": Act(_begin, is_asked=False),
    "batch": Act(_change, is_asked=False),
    "borrow": Act(_borrow, is_asked=False),
    "export": Act(_export, right="peek", is_asked=False),
    "edit": Act(_edit, is_asked=False),
    "undo_edit": Act(_undo_edit, right="edit"),
    "dry_run": Act(_dry_run, is_asked=False),
}
"""``delete`` is about a whole queue, ``remove`` about dead letters, ``acknowledge`` about a silent worker of the queue:
its message is ``host:pid``."""
_OF_QUEUES = frozenset({"purge", "delete"})
"""Acts that take all messages: an order for some of them is a mistake, which must not take the rest."""


def right_of(act: str) -> str:
    """The act whose right an actor needs: ``queue.admin.`` and this name."""
    return ACTS[act].right or act


def _kind(text: str) -> Pausable:
    if text == "queue":
        return "queue"
    return "consumer" if text == "consumer" else "schedule"
