"""Tools that change something, through the operations of the API and so through the acts: rights, log, audit."""

from __future__ import annotations

from collections.abc import Iterable

from tasuki.desk.api import answers, asked
from tasuki.desk.api.operations import acting, batching, letters
from tasuki.desk.api.problems import ProblemError
from tasuki.desk.dead.items import Item
from tasuki.desk.dead.rows import of_group, rows_of
from tasuki.desk.dead.windows import Window
from tasuki.mcp import arguments
from tasuki.mcp.marking import own
from tasuki.mcp.source import Source

_GROUPS = 10
_PAUSE = {"queue": acting.pause_queue, "consumer": acting.pause_consumer, "schedule": acting.pause_schedule}
_RESUME = {"queue": acting.resume_queue, "consumer": acting.resume_consumer, "schedule": acting.resume_schedule}
_CHANGE = {
    "pause": batching.pause_batch,
    "resume": batching.resume_batch,
    "cancel": batching.cancel_batch,
    "undo": batching.undo_batch,
}


class Meant(answers.Answer, frozen=True):
    """What a redrive would do. Nothing was changed."""

    dry: bool
    queue: str
    to: str
    count: int
    is_all: bool
    """False: the queue has more letters than were read."""
    groups: list[answers.Group]
    missing: list[str]
    """The given ids that are not among the letters."""
    next_step: str


own(Meant, "queue to next_step")


async def pause(source: Source, given: arguments.Pause) -> answers.Done:
    """Pause a queue, a consumer or a schedule for all workers. Running handlers end; nothing is lost."""
    order = asked.PauseOrder(given.duration, given.reason)
    return await _PAUSE[given.kind](source.call({given.kind: given.id}, body=order))


async def resume(source: Source, given: arguments.Resume) -> answers.Done:
    """End a pause."""
    return await _RESUME[given.kind](source.call({given.kind: given.id}))


async def retry(source: Source, given: arguments.Retry) -> answers.Done:
    """Send one dead letter back to the queue where it failed: its handler runs again."""
    order = asked.MessageOrder(given.place)
    return await acting.retry(source.call({"queue": given.queue, "id": given.id}, body=order))


async def cancel(source: Source, given: arguments.OneMessage) -> answers.Done:
    """Cancel one message permanently: it does not start any more, and its handler is interrupted."""
    order = asked.MessageOrder(given.place)
    return await acting.cancel(source.call({"queue": given.queue, "id": given.id}, body=order))


async def redrive(source: Source, given: arguments.Redrive) -> answers.Done | Meant:
    """Send many dead letters back where they failed. With dry, the default, only count them.

    Call it dry first, show the user the count and the groups, and call it with dry=false once they agree. That
    begins a batch, which goes on without this call: see `batches`; `change_batch` pauses or undoes it.
    """
    if given.dry:
        return await _meant(source, given)
    group = None if given.group is None else asked.GroupOrder(given.by, given.group)
    order = asked.BatchOrder(
        "retry", given.queue, given.where, given.ids, group, given.to, given.rate, given.canary
    )  # fmt: skip
    return await batching.begin_batch(source.call({}, body=order))


async def _meant(source: Source, given: arguments.Redrive) -> Meant:
    call = source.call({"queue": given.queue}, asked.LettersQuery(1, "", given.where))
    _, row = await call.row()
    if not row.is_dead_letters:
        raise ProblemError(409, f"{row.id} is no dead-letter queue of this project; {row.id} has {row.dead_letters!r}")
    call.require("redrive", row.id)
    if given.to:
        if given.to not in call.site.live.queues:
            raise ProblemError(404, f"there is no queue {given.to!r}")
        call.require("redrive", given.to)
    await letters.letters(call)  # it knows which drivers show no letters, and asks for the right to look
    group = None if given.ids else given.group
    window = await source.library.window(row.id, "" if given.ids else given.where, given.by, group)
    items = of_group(window, given.by, group)
    found: dict[str, Item] = {}
    if given.ids:
        found = _named(window.items, given.ids)
        items = [*{item.at: item for item in found.values()}.values()]
    snapshot = await call.snapshot()
    some = window if window.cause else Window(window.queue, items, len(items), len(items))
    return Meant(
        dry=True,
        queue=row.id,
        to=given.to or "the queue where each failed",
        count=some.count,
        is_all=window.is_all or bool(window.cause),
        missing=sorted(set(given.ids) - found.keys()),
        groups=[letters.group_of(each) for each in rows_of([some], given.by, snapshot.now)[:_GROUPS]],
        next_step="nothing was changed; the same call with dry=false begins the batch",
    )


def _named(items: Iterable[Item], names: Iterable[str]) -> dict[str, Item]:
    """The letters that are meant by these names or ids; an id means the oldest letter that has it."""
    meant: dict[str, Item] = {}
    for item in sorted(items, key=lambda item: item.number):
        meant.setdefault(item.letter.id, item)
        meant.setdefault(item.name, item)
    return {name: meant[name] for name in names if name in meant}


async def run_schedule(source: Source, given: arguments.OneSchedule) -> answers.Done:
    """Publish the message of a schedule now; its own times stay as they are."""
    return await acting.run_schedule(source.call({"schedule": given.schedule}))


async def change_batch(source: Source, given: arguments.Change) -> answers.Done:
    """Pause, resume, cancel or undo a batch; undo brings letters back that still wait where it put them."""
    return await _CHANGE[given.verb](source.call({"batch": given.id}))
