"""Pages that ask before an act, carry it out, and say what happened; and the page that takes the token."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import RedirectResponse, Response

from tasuki.desk.acts.acts import Order
from tasuki.desk.pages.view import View
from tasuki.desk.security.forms import FormError, read_form
from tasuki.desk.security.paths import own_path
from tasuki.desk.site import AwayError, problem_of
from tasuki.errors import PolicyDeniedError, TasukiError

_ASKED = ("pause", "resume", "run", "cancel", "redrive", "purge")
_MOST_PLACE = 1_000_000
_GROWTH = 1.1
"""How much more there may be than the form said."""
_LONG = 512


async def confirm(view: View) -> Response:
    """Ask: a page of its own, which the script shows as a dialog."""
    order = _order(view, view.query)
    if order is None:
        return view.page("error.html", status=404, text=view.say("error.not_found"))
    return await _ask(view, order, own_path(view.query.get("back", "/")))


async def _ask(view: View, order: Order, back: str, *, status: int = 200, problem: str = "") -> Response:
    if not view.may(order.act, order.id):
        text = view.say("queue.no_right", right=f"queue.admin.{order.act}")
        return view.page("error.html", status=403, text=text)
    count = None
    if order.act == "purge":
        try:
            row = (await view.tools.sampler.latest(now=True)).queues[order.id]
        except AwayError as error:
            return view.page("error.html", status=503, text=problem_of(error))
        count = None if row.depth is None else row.ready + row.delayed
        if count is None:
            return view.page("error.html", status=503, text=row.problem or view.say("queue.missing"))
    return view.page("confirm.html", status=status, order=order, back=back, count=count, problem=problem)


async def act(view: View) -> Response:
    """Carry out what a form asks for."""
    try:
        form = await read_form(view.request)
    except FormError as error:
        return view.page("error.html", status=error.status, text=str(error))
    session, tools = view.session, view.tools
    if not session.is_by_header and (
        session.is_new or not tools.sessions.is_form_token(session.id, form.get("token", ""))
    ):
        return view.page("error.html", status=403, text=view.say("error.form"))
    order = _order(view, form)
    if order is None or order.act != view.path[1]:
        return view.page("error.html", status=404, text=view.say("error.not_found"))
    back = own_path(form.get("back", "/"))
    if order.act == "purge" and (answer := await _check_purge(view, order, form, back)) is not None:
        return answer
    try:
        done = await tools.acts.carry_out(order, session)
    except PolicyDeniedError as error:
        return view.page("error.html", status=403, text=problem_of(error))
    except ValueError as error:
        return await _ask(view, order, back, status=400, problem=problem_of(error))
    except (TasukiError, LookupError) as error:
        return view.page("error.html", status=409, text=problem_of(error))
    tools.said.put(session, view.say(done.key, **done.values))
    await _see(view)
    return RedirectResponse(view.root + back, 303)


async def _see(view: View) -> None:
    """Let the next page show what the act did."""
    try:
        await view.tools.sampler.latest(now=True)
    except TasukiError:
        return  # that page shows the error


async def _check_purge(view: View, order: Order, form: Mapping[str, str], back: str) -> Response | None:
    """The question again, if the name is wrong or there is much more than the form said; None: go on."""
    if form.get("name", "") != order.id:
        return await _ask(view, order, back, status=400, problem=view.say("confirm.wrong_name", id=order.id))
    row = (await view.tools.sampler.latest(now=True)).queues[order.id]
    said = form.get("count", "")
    known = int(said) if said.isascii() and said.isdigit() and len(said) < 15 else 0
    if row.ready + row.delayed > known * _GROWTH:
        return await _ask(view, order, back, status=409, problem=view.say("confirm.grown"))
    return None


def _order(view: View, fields: Mapping[str, str]) -> Order | None:
    act, kind, id = (fields.get(name, "") for name in ("act", "kind", "id"))
    message, place = fields.get("message", ""), fields.get("at", "")
    if act not in _ASKED or len(message) > _LONG or (act in ("cancel", "redrive")) != bool(message):
        return None
    number = min(int(place), _MOST_PLACE) if place.isascii() and place.isdigit() and len(place) < 10 else 0
    options = {name: fields.get(name, "")[:_LONG] for name in ("for", "reason")}
    order = Order(act, kind, id, message, number, options)
    try:
        view.tools.acts.queue_of(order)
    except KeyError:
        return None
    return order


async def login(view: View) -> Response:
    """The form for the token, and the session that the right one begins."""
    if view.tools.access.token is None:
        return RedirectResponse(view.url(), 303)
    if view.request.method != "POST":
        return view.page("login.html", back=own_path(view.query.get("back", "/")), problem="")
    gate = view.tools.gate
    try:
        form = await read_form(view.request)
    except FormError as error:
        return view.page("error.html", status=error.status, text=str(error))
    client = gate.client_of(view.request)
    back = own_path(form.get("back", "/"))
    if gate.wrong_tokens.wait(client):
        return view.page("login.html", status=429, back=back, problem=view.say("login.too_many"))
    if not view.tools.sessions.is_token(form.get("token", "").strip()):
        gate.wrong_tokens.take(client)
        return view.page("login.html", status=401, back=back, problem=view.say("login.wrong"))
    gate.begin(view.request)
    return RedirectResponse(view.root + back, 303)
