"""The table of operations: requests are routed by it, and the OpenAPI document is made from it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from tasuki.app.dry_run.report import DryRun
from tasuki.app.explain.rule import Explanation
from tasuki.dead.editing.building import SAME, Wanted
from tasuki.dead.walk import letter_of
from tasuki.desk.acts.acts import Order
from tasuki.desk.acts.messages import check_edit, draft_of
from tasuki.desk.api import answers, asked, letter_answers
from tasuki.desk.api.answers import Done
from tasuki.desk.api.call import ApiCall
from tasuki.desk.api.decoding import MOST_BYTES, MOST_MESSAGE
from tasuki.desk.api.operations import messages, reading
from tasuki.desk.api.problems import ProblemError
from tasuki.desk.reading.attention import queue_in
from tasuki.message import Message


def ordered(act: str) -> Callable[[ApiCall], Awaitable[Done]]:
    """One act on the entry or the message in the path; the fields of the body are its options."""

    async def carry_out(call: ApiCall) -> Done:
        kind = next(name for name in call.names if name != "id")
        fields = ((each.encode_name, getattr(call.body, each.name)) for each in msgspec.structs.fields(call.body))
        options = {name: value for name, value in fields if value not in (None, "")}
        place = options.pop("place", 0)
        order = Order(act, kind, call.names[kind], call.names.get("id", ""), place, options=options)
        return await call.act(order)

    return carry_out


async def purge(call: ApiCall) -> Done:
    """Remove all messages of a queue that no consumer holds. This cannot be undone."""
    order = Order("purge", "queue", call.names["queue"])
    if (most := call.body.at_most) is not None:
        call.require(order.act, order.id)
        _, row = await call.row()
        fresh = (await call.tools.sampler.latest(now=True)).queues[row.id]
        if fresh.depth is None:
            raise ProblemError(503, fresh.problem or f"{row.id} does not exist at its broker")
        if (count := fresh.waiting) > most:
            raise ProblemError(409, f"{row.id} holds {count} messages, more than {most}", "more_than_asked")
    return await call.act(order)


async def acknowledge(call: ApiCall) -> Done:
    """End the notice of a silent worker; a right on one of its queues is needed."""
    worker, snapshot = call.names["worker"], await call.snapshot()
    ids = call.site.ids
    found = next((queue_in(each, ids) for each in snapshot.lost if each.name == worker), "")
    if not found:
        raise ProblemError(404, f"no worker {worker!r} fell silent in the last 15 minutes, or it is acknowledged")
    return await call.act(Order("acknowledge", "queue", found, worker))


async def edit(call: ApiCall) -> Done:
    """Send one dead letter back with changes, as a new message that is checked first; its id is ``message``."""
    body, message = call.body, await _waiting(call, "edit")
    if body.to:  # else a right on one dead-letter queue would be one to publish anywhere
        call.require("edit", body.to)
    dead = call.names["queue"]
    draft = await draft_of(call.site, dead, message, body.to or None, call.session)
    wanted = Wanted(SAME, bytes(body.body).decode() or None, body.headers)
    made = await check_edit(call.site, draft, wanted, call.session)
    options = {"draft": draft, "made": made, "keep": body.keep}
    return await call.act(Order("edit", "queue", dead, message.id, options=options))


async def dry_run(call: ApiCall) -> DryRun:
    """Call the handler of a message in its own process, which records what it would do, for up to 30 s.

    Calls that the code makes itself (HTTP, SQL outside Tasuki) really happen, so it is off until a policy allows it.
    """
    message = await _waiting(call, "dry_run")
    order = Order("dry_run", "queue", call.names["queue"], message.id, options={"message": message})
    report: DryRun = (await call.carry_out(order)).values["report"]
    return report


async def _waiting(call: ApiCall, act: str) -> Message:
    """The message in the path, for an actor who has the right to the act. Raises ProblemError, PolicyDeniedError."""
    _, row = await call.row()
    call.require(act, row.id)
    id, clock = call.names["id"], call.site.reader._runtime.clock
    try:
        return await call.site.at(row.id, lambda live: letter_of(live.queues[row.id], id, clock))
    except LookupError as error:
        raise ProblemError(404, str(error)) from error


Answer = answers.ApiAnswer | Explanation | DryRun
Answering = Callable[[ApiCall], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, for requests, the OpenAPI document and the tools of language models."""

    name: str
    """The ``operationId``."""
    text: str
    method: str
    path: tuple[str, ...]
    """Segments below ``/api/v1``; one in braces is a name that the function gets."""
    call: Answering
    answer: type[Answer]
    right: str = ""
    """The act whose right it needs."""
    query: type[asked.Query] = asked.Query
    body: type[asked.Nothing] | None = None
    most: int = MOST_BYTES
    """Bytes of its body."""
    reads_site: bool = True
    """False: it is about this process, and answers while brokers are unavailable."""

    @property
    def names(self) -> list[str]:
        """The names in its path."""
        return [part[1:-1] for part in self.path if part.startswith("{")]

    def fits(self, path: Sequence[str]) -> bool:
        """Whether it is at this path."""
        return len(self.path) == len(path) and all(
            mine.startswith("{") or mine == given for mine, given in zip(self.path, path, strict=True)
        )


def _of(method: str, path: str, call: Answering, answer: type[Answer], **facts: Any) -> Operation:
    """An operation that has the name and the text of its function."""
    return Operation(call.__name__, inspect.getdoc(call) or "", method, _split(path), call, answer, **facts)


def _get(
    path: str, call: Answering, answer: type[Answer], query: type[asked.Query] = asked.Query, right: str = ""
) -> Operation:
    return _of("GET", path, call, answer, right=right, query=query)


def _post(path: str, call: Answering, right: str, body: type = asked.Nothing, most: int = MOST_BYTES) -> Operation:
    return _of("POST", path, call, answers.Done, right=right, body=body, most=most)


def _act(path: str, act: str, name: str, text: str, body: type = asked.Nothing, most: int = MOST_BYTES) -> Operation:
    call = ordered(act)
    return Operation(name, text, "POST", _split(path), call, answers.Done, act, body=body, most=most)


def _change(verb: str, text: str) -> Operation:
    path, call = _split(f"/batches/{{batch}}/{verb}"), messages.changed(verb)
    return Operation(f"{verb}_batch", text, "POST", path, call, answers.Done, "batch", body=asked.Nothing)


def _split(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/"))


OPERATIONS: Sequence[Operation] = (
    _get("/overview", reading.overview, answers.Overview),
    _get("/queues", reading.queues, answers.Queues, asked.PartQuery),
    _get("/queues/{queue}", reading.queue, answers.QueueAnswer),
    _get("/queues/{queue}/history", reading.history, answers.HistoryAnswer),
    _get("/queues/{queue}/messages", messages.messages, answers.Messages, asked.MessagesQuery, "peek"),
    _get("/messages/{queue}/{id}", messages.message, answers.MessageAnswer, asked.MessageQuery, "peek"),
    _get("/messages/{queue}/{id}/explain", messages.explain, Explanation, right="peek"),
    _get("/messages/{queue}/{id}/result", messages.result, answers.Result, right="peek"),
    _get("/dead/groups", messages.groups, letter_answers.Groups, asked.GroupsQuery, "peek"),
    _get("/dead/{queue}", messages.letters, letter_answers.Letters, asked.LettersQuery, "peek"),
    _get("/find", reading.find, answers.FindAnswer, asked.FindQuery, "peek"),
    _get("/topology", reading.topology, answers.TopologyAnswer, asked.PartQuery),
    _get("/workers", reading.workers, answers.Workers, asked.PageQuery),
    _get("/workers/{worker}", reading.worker, answers.Worker),
    _get("/workers/{worker}/events", reading.events, answers.Events, asked.EventsQuery, "peek"),
    _post("/workers/{worker}/acknowledge", acknowledge, "acknowledge"),
    _get("/schedules", reading.schedules, answers.Schedules, asked.PageQuery),
    _get("/audit", reading.audit, answers.AuditAnswer, asked.AuditQuery, "audit"),
    _of("GET", "/health", reading.health, answers.HealthAnswer, reads_site=False),
    _act("/queues/{queue}/pause", "pause", "pause_queue",
         "Let all workers stop receiving from a queue; running handlers end.", asked.PauseOrder),
    _act("/queues/{queue}/resume", "resume", "resume_queue", "End the pause of a queue."),
    _post("/queues/{queue}/purge", purge, "purge", asked.PurgeOrder),
    _act("/queues/{queue}/publish", "publish", "publish",
         "Publish one message; answered when the broker has confirmed it.", asked.PublishOrder, MOST_MESSAGE),
    Operation("delete", "Delete a queue at its broker with all its messages. This cannot be undone.", "DELETE",
              ("queues", "{queue}"), ordered("delete"), answers.Done, "delete"),
    _act("/messages/{queue}/{id}/retry", "redrive", "retry",
         "Send one dead letter back to the queue where it failed: its handler runs again.", asked.MessageOrder),
    _act("/messages/{queue}/{id}/cancel", "cancel", "cancel",
         "Cancel one message permanently: it does not start any more, and its handler is interrupted.",
         asked.MessageOrder),
    _act("/messages/{queue}/{id}/reschedule", "reschedule", "reschedule",
         "Let a delayed message run now, or at another time.", asked.DueOrder),
    _post("/messages/{queue}/{id}/edit", edit, "edit", asked.EditOrder, MOST_MESSAGE),
    replace(
        _act("/messages/{queue}/{id}/undo-edit", "undo_edit", "undo_edit",
             "Bring a letter back in the place of the message that its edit made, within 15 minutes; `id`: of the "
             "message."),
        right="edit",
    ),
    _of("POST", "/messages/{queue}/{id}/dry-run", dry_run, DryRun, right="dry_run", body=asked.Nothing),
    _get("/batches", messages.batches, letter_answers.BatchesAnswer, right="peek"),
    _get("/batches/{batch}", messages.batch, letter_answers.BatchItem, right="peek"),
    _post("/batches", messages.begin_batch, "redrive", asked.BatchOrder),
    _change("pause", "Pause a batch."),
    _change("resume", "Resume a batch that is paused or has failed; after a stop by its canary, without the canary."),
    _change("cancel", "End a batch; letters that it has moved stay where they are."),
    _change("undo", "End a batch, and bring the letters back that still wait where it has put them."),
    _act("/consumers/{consumer}/pause", "pause", "pause_consumer",
         "Let all workers stop receiving for a consumer.", asked.PauseOrder),
    _act("/consumers/{consumer}/resume", "resume", "resume_consumer", "End the pause of a consumer."),
    _act("/consumers/{consumer}/scale", "scale", "scale",
         "Set how many messages each process handles at the same time for a consumer; 0 pauses it.", asked.ScaleOrder),
    _act("/schedules/{schedule}/run", "run", "run_schedule",
         "Publish the message of a schedule now; its own times stay as they are."),
    _act("/schedules/{schedule}/pause", "pause", "pause_schedule", "Let a schedule publish nothing.", asked.PauseOrder),
    _act("/schedules/{schedule}/resume", "resume", "resume_schedule", "End the pause of a schedule."),
)  # fmt: skip
