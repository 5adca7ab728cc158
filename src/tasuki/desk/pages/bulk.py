"""The question before an act on many letters, its beginning, and the pages of batches; and borrowing."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import RedirectResponse, Response

from tasuki.dead.batch import KEPT, Batch
from tasuki.dead.batches.planning import brings_back
from tasuki.desk.acts.acts import Order
from tasuki.desk.acts.bulk import ACT_OF, VERBS, Bulk
from tasuki.desk.dead.rows import count_of
from tasuki.desk.dead.windows import Window
from tasuki.desk.pages.letters import filter_of
from tasuki.desk.pages.view import PageError, PageView
from tasuki.desk.security.gate import own_path
from tasuki.desk.site import problem_of
from tasuki.errors import BatchNotFoundError, TasukiError

NAMED_FROM = 100
"""From more letters on, the name of the queue is typed."""
_GROWTH = 1.1
"""How many more letters there may be than the form said."""
_LONG = 512
Fields = Sequence[tuple[str, str]]


def _bulk(view: PageView, fields: Fields) -> Bulk | None:
    """The act that the fields ask for; None: there is no such act or queue."""
    one, asked = dict(fields), filter_of(view, fields)
    id = view.path[1]
    row = id in view.tools.site.queues
    if one.get("act", "") not in ACT_OF or not row:
        return None
    ids = tuple(dict.fromkeys(value for name, value in fields if name == "ids" and value))
    given = {name: one[name].strip()[:_LONG] for name in ("to", "rate", "canary") if name in one}
    return Bulk(one["act"], id, asked.by, asked.group, asked.where, ids, fast="fast" in one, **given)


async def confirm(view: PageView) -> Response:
    """Ask: what, which letters, how many, how fast."""
    is_selection = view.request.method == "POST"
    fields = await view.fields() if is_selection else view.request.query_params.multi_items()
    bulk = _bulk(view, fields)
    if bulk is None or (bulk.ids and not is_selection):
        return view.page("error.html", status=404, text=view.say("error.not_found"))
    if is_selection and not bulk.ids:
        return view.page("error.html", status=400, text=view.say("bulk.nothing"))
    return await _ask(view, bulk, own_path(dict(fields).get("back", "/dead")))


async def _ask(view: PageView, bulk: Bulk, back: str, *, status: int = 200, problem: str = "") -> Response:
    _require(view, bulk)
    try:
        count, is_all = await _count(view, bulk)
    except (TasukiError, ValueError) as error:
        status = 400 if isinstance(error, ValueError) else 503  # an unavailable broker is no mistake of the form
        return view.page("error.html", status=status, text=problem_of(error))
    site = view.tools.site
    return view.page(
        "bulk.html",
        status=status,
        order=bulk,
        back=back,
        count=count,
        is_all=is_all,
        asks_name=_asks_name(bulk, count),
        has_canary=bulk.act == "redrive" and site.live.queues[bulk.queue].driver.capabilities.has("peek"),
        note=_note(view, bulk, count),
        words="" if bulk.ids else await view.tools.library.words_of(bulk.queue, bulk.by, bulk.group),
        queues=[id for id in site.queues if id != bulk.queue][:1000],
        problem=problem,
    )


def _require(view: PageView, bulk: Bulk) -> None:
    """Return if the actor has the rights. Raises PageError, which names the first that is lacking."""
    for right in bulk.rights:
        view.require(right, bulk.queue)


def _asks_name(bulk: Bulk, count: int) -> bool:
    return not bulk.ids or count > NAMED_FROM


def _note(view: PageView, bulk: Bulk, count: int) -> str:
    """The key of the text about its undo."""
    queues = view.tools.site.live.queues
    if count > KEPT or not brings_back(queues[bulk.queue], ACT_OF[bulk.act], queues.get(bulk.to)):
        return "bulk.no_undo"
    return "bulk.undo_trash" if bulk.act == "remove" else "bulk.undo_move"


async def _count(view: PageView, bulk: Bulk) -> tuple[int, bool]:
    """How many letters are meant, and whether all were asked. Raises AwayError, DriverError, ValueError."""
    if bulk.ids:
        return len(bulk.ids), True
    library = view.tools.library
    can_peek = view.tools.site.live.queues[bulk.queue].driver.capabilities.has("peek")
    if not bulk.where and bulk.group is None:
        row = (await view.tools.sampler.latest(now=True)).queues[bulk.queue]
        return row.waiting, True
    window: Window | None
    if can_peek:
        window = await library.window(bulk.queue, bulk.where, bulk.by, bulk.group)
    elif (window := library.borrowed(bulk.queue, bulk.where)) is None:
        return 0, False
    return count_of(window, bulk.by, bulk.group), window.is_all or bool(window.cause)


async def begin(view: PageView) -> Response:
    """Begin the batch, and show it."""
    fields = await view.fields()
    bulk = _bulk(view, fields)
    if bulk is None:
        return view.page("error.html", status=404, text=view.say("error.not_found"))
    _require(view, bulk)
    one = dict(fields)
    back = own_path(one.get("back", "/dead"))
    if (answer := await _check(view, bulk, one.get("name", ""), one.get("count", ""), back)) is not None:
        return answer
    try:
        done = await view.carry_out(Order(bulk.act, "queue", bulk.queue, bulk=bulk))
    except (PageError, ValueError) as error:
        if isinstance(error, PageError) and error.status == 403:
            raise
        return await _ask(view, bulk, back, status=400, problem=problem_of(error))
    return RedirectResponse(view.url("batches", str(done.values["batch"])), 303)


async def _check(view: PageView, bulk: Bulk, name: str, said: str, back: str) -> Response | None:
    """The question again, if the name is wrong or there are many more letters than the form said; None: go on."""
    known = int(said) if said.isascii() and said.isdigit() and len(said) < 15 else 0
    try:
        count, _ = await _count(view, bulk)
    except (TasukiError, ValueError) as error:
        status = 400 if isinstance(error, ValueError) else 503  # an unavailable broker is no mistake of the form
        return view.page("error.html", status=status, text=problem_of(error))
    if _asks_name(bulk, max(count, known)) and name != bulk.queue:
        problem = view.say("bulk.wrong_name", id=bulk.queue)
        return await _ask(view, bulk, back, status=400, problem=problem)
    if count > known * _GROWTH:
        return await _ask(view, bulk, back, status=409, problem=view.say("bulk.grown"))
    return None


async def batch(view: PageView) -> Response:
    """How far one batch is; a form of it pauses, resumes, cancels or undoes it."""
    snapshot = await view.tools.sampler.latest()
    id = view.path[1]
    try:
        found = await view.tools.board.find(id)
    except BatchNotFoundError as error:
        return view.page("error.html", status=404, snapshot=snapshot, text=problem_of(error))
    if not (view.may("peek", found.queue) or view.may("batch", found.queue)):
        text = view.say("queue.no_right", right="queue.admin.peek")
        return view.page("error.html", status=403, snapshot=snapshot, text=text)
    if view.request.method == "POST":
        return await _order(view, found)
    verbs = verbs_of(found) if view.may("batch", found.queue) else ()
    return view.page("batch.html", snapshot=snapshot, batch=found, verbs=verbs)


def verbs_of(batch: Batch) -> tuple[str, ...]:
    """What can be done to a batch in its state."""
    found = {
        "running": ("pause", "cancel"),
        "paused": ("resume", "cancel"),
        "stopped": ("resume", "cancel"),
        "failed": ("resume", "cancel"),
    }.get(batch.state, ())
    if batch.is_back:
        return ("undo",) if batch.state == "failed" else ()
    return (*found, "undo") if batch.can_undo else found


async def _order(view: PageView, found: Batch) -> Response:
    fields = await view.fields()
    verb = dict(fields).get("verb", "")
    if verb not in VERBS:
        return view.page("error.html", status=404, text=view.say("error.not_found"))
    await view.carry_out(Order("batch", "queue", found.queue, options={"batch": found.id, "verb": verb}))
    return RedirectResponse(view.url("batches", found.id), 303)


async def borrow(view: PageView) -> Response:
    """Receive the first letters of a queue whose broker cannot show them, and go back to the page."""
    fields = await view.fields()
    one, id = dict(fields), view.path[1]
    asked = filter_of(view, fields)
    row = (await view.tools.sampler.latest()).queues[id]
    if not row.is_dead_letters or view.tools.site.live.queues[id].driver.capabilities.has("peek") or asked.problem:
        return view.page("error.html", status=404, text=view.say("error.not_found"))
    await view.carry_out(Order("borrow", "queue", id, options={"where": asked.where}))
    return RedirectResponse(view.root + own_path(one.get("back", "/dead")), 303)
