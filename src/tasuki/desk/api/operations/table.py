"""The table of operations: requests are routed by it, and the OpenAPI document is made from it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tasuki.desk.api import answers, asked
from tasuki.desk.api.call import Call
from tasuki.desk.api.decoding import MOST_BYTES, MOST_MESSAGE
from tasuki.desk.api.operations import acting, batching, letters, messages, reading, searching

Answering = Callable[[Call], Awaitable[answers.Answer]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; its function gives it its name and text."""

    method: str
    path: tuple[str, ...]
    """Segments below ``/api/v1``; one in braces is a name that the function gets."""
    call: Answering
    answer: type[answers.Answer]
    right: str = ""
    """The act whose right it needs."""
    query: type[asked.Query] = asked.Query
    body: type[asked.Nothing] | type | None = None
    most: int = MOST_BYTES
    """Bytes of its body."""
    reads_site: bool = True
    """False: it is about this process, and answers while brokers are away."""

    @property
    def name(self) -> str:
        """The ``operationId``."""
        return self.call.__name__

    @property
    def text(self) -> str:
        """What it does, for the document and for language models."""
        return inspect.getdoc(self.call) or ""

    @property
    def names(self) -> list[str]:
        """The names in its path."""
        return [part[1:-1] for part in self.path if part.startswith("{")]

    def fits(self, path: Sequence[str]) -> bool:
        """Whether it is at this path."""
        return len(self.path) == len(path) and all(
            mine.startswith("{") or mine == given for mine, given in zip(self.path, path, strict=True)
        )


def _get(
    path: str, call: Answering, answer: type[answers.Answer], query: type[asked.Query] = asked.Query, right: str = ""
) -> Operation:
    return Operation("GET", _split(path), call, answer, right, query)


def _post(path: str, call: Answering, right: str, body: type = asked.Nothing, most: int = MOST_BYTES) -> Operation:
    return Operation("POST", _split(path), call, answers.Done, right, body=body, most=most)


def _split(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/"))


OPERATIONS: Sequence[Operation] = (
    _get("/overview", reading.overview, answers.Overview),
    _get("/queues", reading.queues, answers.Queues, asked.PartQuery),
    _get("/queues/{queue}", reading.queue, answers.Queue),
    _get("/queues/{queue}/history", reading.history, answers.History),
    _get("/queues/{queue}/messages", messages.messages, answers.Messages, asked.MessagesQuery, "peek"),
    _get("/messages/{queue}/{id}", messages.message, answers.Message, asked.MessageQuery, "peek"),
    _get("/messages/{queue}/{id}/explain", messages.explain, answers.Explained, right="peek"),
    _get("/messages/{queue}/{id}/result", messages.result, answers.Result, right="peek"),
    _get("/dead/groups", letters.groups, answers.Groups, asked.GroupsQuery, "peek"),
    _get("/dead/{queue}", letters.letters, answers.Letters, asked.LettersQuery, "peek"),
    _get("/find", searching.find, answers.Found, asked.FindQuery, "peek"),
    _get("/topology", searching.topology, answers.Topology, asked.PartQuery),
    _get("/workers", reading.workers, answers.Workers, asked.PageQuery),
    _get("/workers/{worker}", reading.worker, answers.Worker),
    _get("/workers/{worker}/events", reading.events, answers.Events, asked.EventsQuery, "peek"),
    _post("/workers/{worker}/acknowledge", acting.acknowledge, "acknowledge"),
    _get("/schedules", reading.schedules, answers.Schedules, asked.PageQuery),
    _get("/audit", reading.audit, answers.Acts, asked.AuditQuery, "audit"),
    Operation("GET", ("health",), reading.health, answers.Health, reads_site=False),
    _post("/queues/{queue}/pause", acting.pause_queue, "pause", asked.PauseOrder),
    _post("/queues/{queue}/resume", acting.resume_queue, "resume"),
    _post("/queues/{queue}/purge", acting.purge, "purge", asked.PurgeOrder),
    _post("/queues/{queue}/publish", acting.publish, "publish", asked.PublishOrder, MOST_MESSAGE),
    Operation("DELETE", ("queues", "{queue}"), acting.delete, answers.Done, "delete"),
    _post("/messages/{queue}/{id}/retry", acting.retry, "redrive", asked.MessageOrder),
    _post("/messages/{queue}/{id}/cancel", acting.cancel, "cancel", asked.MessageOrder),
    _post("/messages/{queue}/{id}/reschedule", acting.reschedule, "reschedule", asked.DueOrder),
    _post("/messages/{queue}/{id}/edit", acting.edit, "edit", asked.EditOrder, MOST_MESSAGE),
    _post("/messages/{queue}/{id}/undo-edit", acting.undo_edit, "edit"),
    Operation(
        "POST",
        ("messages", "{queue}", "{id}", "dry-run"),
        acting.dry_run,
        answers.DryRun,
        "dry_run",
        body=asked.Nothing,
    ),
    _get("/batches", batching.batches, answers.Batches, right="peek"),
    _get("/batches/{batch}", batching.batch, answers.Batch, right="peek"),
    _post("/batches", batching.begin_batch, "redrive", asked.BatchOrder),
    _post("/batches/{batch}/pause", batching.pause_batch, "batch"),
    _post("/batches/{batch}/resume", batching.resume_batch, "batch"),
    _post("/batches/{batch}/cancel", batching.cancel_batch, "batch"),
    _post("/batches/{batch}/undo", batching.undo_batch, "batch"),
    _post("/consumers/{consumer}/pause", acting.pause_consumer, "pause", asked.PauseOrder),
    _post("/consumers/{consumer}/resume", acting.resume_consumer, "resume"),
    _post("/consumers/{consumer}/scale", acting.scale, "scale", asked.ScaleOrder),
    _post("/schedules/{schedule}/run", acting.run_schedule, "run"),
    _post("/schedules/{schedule}/pause", acting.pause_schedule, "pause", asked.PauseOrder),
    _post("/schedules/{schedule}/resume", acting.resume_schedule, "resume"),
)
