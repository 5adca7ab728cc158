"""The login page, which takes the token and begins a session, and the logout."""

from __future__ import annotations

from math import ceil

from starlette.responses import PlainTextResponse, RedirectResponse, Response

from tasuki.desk.pages.view import PageView
from tasuki.desk.security.forms import FormError, read_form
from tasuki.desk.security.gate import SESSION, own_path
from tasuki.desk.security.sessions import ActorSession


async def login(view: PageView) -> Response:
    """The form for the token, and the session that the right one begins."""
    if view.tools.access.token is None:
        return RedirectResponse(view.url(), 303)
    if view.request.method != "POST":
        return _form(view, own_path(view.query.get("back", "/")))
    gate = view.tools.gate
    try:
        async with gate.readers.turn():
            form = await read_form(view.request)
    except FormError as error:
        return PlainTextResponse(f"{error}\n", error.status)  # a page costs more than a form
    back = own_path(form.get("back", "/"))
    if view.tools.sessions.is_token(form.get("token", "").strip()):
        gate.log_in(view.request)
        return RedirectResponse(view.root + back, 303)
    if wait := gate.note_wrong_token(view.request):  # a page costs more than a guess
        return PlainTextResponse(view.say("login.too_many") + "\n", 429, {"retry-after": str(ceil(wait))})
    return _form(view, back, status=401, problem=view.say("login.wrong"))


def _form(view: PageView, back: str, *, status: int = 200, problem: str = "") -> Response:
    is_made = view.tools.access.takes_links
    return view.page("login.html", status=status, back=back, problem=problem, is_made=is_made)


async def logout(view: PageView) -> Response:
    """End the session; a form of another session, or of another site, ends none."""
    session: ActorSession | None = view.request.scope[SESSION]
    if session is None:
        return RedirectResponse(view.url("login"), 303)
    try:
        form = await read_form(view.request)
    except FormError as error:
        return view.page("error.html", status=error.status, text=str(error))
    tools = view.tools
    if not session.is_by_token or not tools.sessions.is_form_token(session.id, form.get("token", "")):
        return view.page("error.html", status=403, text=view.say("error.form"))
    tools.gate.end(view.request, session)
    return RedirectResponse(view.url("login"), 303)
