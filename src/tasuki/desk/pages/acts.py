"""Pages that ask before an act, carry it out, and say what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.responses import RedirectResponse, Response

from tasuki.desk.acts.acts import ACTS, Order, right_of
from tasuki.desk.pages.view import PageView
from tasuki.desk.security.forms import FormError, read_fields
from tasuki.desk.security.gate import own_path
from tasuki.desk.site import AwayError, problem_of
from tasuki.errors import PolicyDeniedError, TasukiError

_MOST_PLACE = 1_000_000
_GROWTH = 1.1
"""How much more there may be than the form said."""
_LONG = 512
_MOST_CHOSEN = 50
"""Rows of a page."""
_OF_MESSAGES = ("acknowledge", "cancel", "reschedule", "redrive", "undo_edit")
_OF_ONE = ("acknowledge", "redrive", "undo_edit")
"""Acts on one message, or worker, alone."""
_OF_MANY = ("pause", "resume")
"""Acts on several entries at once."""
_OF_ENTRIES = tuple(act for act in ACTS if act not in _OF_MESSAGES)


async def confirm(view: PageView) -> Response:
    """Ask: its own page, which the script shows as a dialog."""
    fields, ids = view.query, list[str]()
    if view.request.method == "POST":  # a selection: its ids may be too long for an address
        try:
            pairs = await read_fields(view.request)
        except FormError as error:
            return view.page("error.html", status=error.status, text=str(error))
        fields, ids = dict(pairs), [value for name, value in pairs if name == "ids"]
        if not ids:
            return view.page("error.html", status=400, text=view.say("error.nothing_selected"))
    orders = _orders(view, fields, ids)
    if orders is None:
        return view.page("error.html", status=404, text=view.say("error.not_found"))
    return await _ask(view, orders, own_path(fields.get("back", "/")))


async def _ask(view: PageView, orders: Sequence[Order], back: str, *, status: int = 200, problem: str = "") -> Response:
    order = orders[0]
    right = right_of(order.act)
    if not all(view.may(right, each.id) for each in orders):
        text = view.say("queue.no_right", right=f"queue.admin.{right}")
        return view.page("error.html", status=403, text=text)
    count = None
    if order.act == "purge":
        try:
            row = (await view.tools.sampler.latest(now=True)).queues[order.id]
        except AwayError as error:
            return view.page("error.html", status=503, text=problem_of(error))
        count = None if row.depth is None else row.waiting
        if count is None:
            return view.page("error.html", status=503, text=row.problem or view.say("queue.missing"))
    ids = order.ids or ([each.id for each in orders] if len(orders) > 1 else [])
    return view.page("confirm.html", status=status, order=order, ids=ids, back=back, count=count, problem=problem)


async def act(view: PageView) -> Response:
    """Carry out what a form asks for."""
    pairs = await view.fields()
    form, session, tools = dict(pairs), view.session, view.tools
    orders = _orders(view, form, [value for name, value in pairs if name == "ids"])
    if orders is None or orders[0].act != view.path[1]:
        return view.page("error.html", status=404, text=view.say("error.not_found"))
    back, order = own_path(form.get("back", "/")), orders[0]
    if order.act == "purge" and (answer := await _check_purge(view, order, form, back)) is not None:
        return answer
    try:
        said = await _carry_out(view, orders)
    except PolicyDeniedError as error:
        return view.page("error.html", status=403, text=problem_of(error))
    except ValueError as error:
        return await _ask(view, orders, back, status=400, problem=problem_of(error))
    except (TasukiError, LookupError) as error:
        return view.page("error.html", status=409, text=problem_of(error))
    tools.said.put(session, said)
    await _see(view)
    return RedirectResponse(view.root + back, 303)


async def _carry_out(view: PageView, orders: Sequence[Order]) -> str:
    """What happened, in words; if an act of several fails, the others are done all the same."""
    acts, session = view.tools.acts, view.session
    if len(orders) == 1:
        done = await acts.carry_out(orders[0], session)
        return view.say(done.key, **done.values)
    failed: list[str] = []
    for order in orders:
        try:
            await acts.carry_out(order, session)
        except (PolicyDeniedError, ValueError):
            if order is orders[0]:  # it holds for all of them
                raise
            failed.append(order.id)
        except (TasukiError, LookupError) as error:
            failed.append(f"{order.id}: {problem_of(error)}")
    said = view.say(f"done.{orders[0].act}_several", n=len(orders) - len(failed))
    return f"{said} {view.say('done.failed', text='; '.join(failed))}" if failed else said


async def _see(view: PageView) -> None:
    """Let the next page show what the act did."""
    try:
        await view.tools.sampler.latest(now=True)
    except TasukiError:
        return  # that page shows the error


async def _check_purge(view: PageView, order: Order, form: Mapping[str, str], back: str) -> Response | None:
    """The question again, if the name is wrong or there is much more than the form said; None: go on."""
    if form.get("name", "") != order.id:
        return await _ask(view, [order], back, status=400, problem=view.say("confirm.wrong_name", id=order.id))
    row = (await view.tools.sampler.latest(now=True)).queues[order.id]
    said = form.get("count", "")
    known = int(said) if said.isascii() and said.isdigit() and len(said) < 15 else 0
    if row.waiting > known * _GROWTH:
        return await _ask(view, [order], back, status=409, problem=view.say("confirm.grown"))
    return None


def _orders(view: PageView, fields: Mapping[str, str], ids: Sequence[str]) -> list[Order] | None:
    """What a form asks for: one act, or the same one on several entries. None: it makes no sense."""
    act, kind, id = (fields.get(name, "") for name in ("act", "kind", "id"))
    message, place = fields.get("message", ""), fields.get("at", "")
    chosen = tuple(dict.fromkeys(ids))
    if (
        act not in ACTS
        or not ACTS[act].is_asked
        or len(chosen) > _MOST_CHOSEN
        or any(not 0 < len(each) <= _LONG for each in (*chosen, act))
    ):
        return None
    if len(message) > _LONG or (act in _OF_ENTRIES and bool(message)):
        return None
    if (act in _OF_MESSAGES and bool(message) == bool(chosen)) or (chosen and act not in (*_OF_MANY, *_OF_MESSAGES)):
        return None
    if act in _OF_ONE and chosen:
        return None
    number = min(int(place), _MOST_PLACE) if place.isascii() and place.isdigit() and len(place) < 10 else 0
    options = {name: fields.get(name, "")[:_LONG] for name in ("for", "reason", "in", "concurrency")}
    if act in _OF_MANY and chosen:
        orders = [Order(act, kind, each, options=options) for each in chosen]
    else:
        orders = [Order(act, kind, id, message, number, chosen, options)]
    try:
        for order in orders:
            view.tools.acts.queue_of(order)
    except KeyError:
        return None
    return orders
