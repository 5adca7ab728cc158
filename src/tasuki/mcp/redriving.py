"""Redriving: the tool that sends many dead letters back, or only says which ones it would send."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, field

from tasuki.desk.api import answers, asked
from tasuki.desk.api.call import Call
from tasuki.desk.api.operations import letters
from tasuki.desk.api.problems import ProblemError
from tasuki.desk.dead.items import Item
from tasuki.desk.dead.rows import of_group, rows_of
from tasuki.desk.dead.windows import Window
from tasuki.mcp.arguments import Arguments
from tasuki.mcp.marking import own
from tasuki.mcp.source import Source

_GROUPS = 10


class Redrive(Arguments, frozen=True, kw_only=True):
    """Which dead letters, where to and how fast."""

    queue: asked.Dead
    dry: Annotated[bool, Meta(description="true: only say which letters are meant; false: begin the batch.")] = True
    where: asked.Where = ""
    ids: asked.Ids = field(default_factory=list)
    by: asked.By = "cause"
    group: asked.Group | None = None
    to: asked.To = ""
    rate: asked.Rate = 100.0
    canary: asked.Canary | None = 10


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


async def redrive(source: Source, given: Redrive) -> answers.Done | Meant:
    """Send many dead letters back where they failed. With dry, the default, only count them.

    Call it dry first, show the user the count and the groups, and call it with dry=false once they agree. That
    begins a batch, which goes on without this call: see `batch`; `change_batch` pauses or undoes it.
    """
    if given.dry:
        return await _meant(source, given)
    group = None if given.group is None else asked.GroupOrder(given.by, given.group)
    order = asked.BatchOrder(
        "retry", given.queue, given.where, given.ids, group, given.to, given.rate, given.canary
    )  # fmt: skip
    return await letters.begin_batch(Call(source, source.session, {}, asked.Query(), order))


async def _meant(source: Source, given: Redrive) -> Meant:
    query = asked.LettersQuery(1, "", given.where)
    call = Call(source, source.session, {"queue": given.queue}, query, asked.Nothing())
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
