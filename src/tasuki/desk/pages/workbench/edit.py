"""The page that changes a dead letter and sends it back; it works without a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.responses import RedirectResponse, Response

from tasuki.desk.acts.acts import Order
from tasuki.desk.acts.mending import check, draft_of
from tasuki.desk.pages.view import PageError, View
from tasuki.desk.pages.workbench.edit_form import form_of, wanted_of
from tasuki.desk.pages.workbench.found import Subject, subject_of
from tasuki.desk.site import AwayError, problem_of
from tasuki.errors import TasukiError
from tasuki.queues.dead.naming import name_of
from tasuki.workbench.editing.edit import Draft
from tasuki.workbench.editing.problems import EditError, Problem

_MOST_BYTES = 2**20
"""Of a form: a body of MOST_TEXT characters may have three times as many bytes, encoded nine times."""
_MOST_FIELDS = 400


async def edit(view: View) -> Response:
    """Show the form, or check and send what it says; errors stand at their fields."""
    subject = await subject_of(view, "edit")
    given: Mapping[str, str] | None = None
    if view.request.method == "POST":
        given = dict(await view.fields(_MOST_BYTES * 8, _MOST_FIELDS))
    site, id = view.tools.site, subject.queue.id
    to = (given or view.query).get("to", "")
    try:
        draft = await draft_of(site, id, subject.message, to if to in site.queues else None, view.session)
        if given is None:
            return _show(view, subject, draft)
        return await _send(view, subject, draft, given)
    except AwayError:
        raise
    except (TasukiError, LookupError) as error:
        raise PageError(409, problem_of(error)) from None


async def _send(view: View, subject: Subject, draft: Draft, given: Mapping[str, str]) -> Response:
    site, session = view.tools.site, view.session
    try:
        wanted = wanted_of(draft, given, shows_secrets=view.may("secrets", draft.dead))
        made = await check(site, draft, wanted, session)
    except EditError as error:
        return _show(view, subject, draft, given, error.problems, status=400)
    if given.get("do") != "send":
        return _show(view, subject, draft, given, said=view.say("mend.valid"), warnings=made.warnings)
    options = {"draft": draft, "wanted": wanted, "keep": given.get("keep") == "1"}
    order = Order("edit", "queue", draft.dead, draft.letter.id, subject.place, options=options)
    done = await view.carry_out(order)
    return RedirectResponse(view.url("messages", done.values["id"], done.values["new"], edited=draft.dead), 303)


def _show(
    view: View,
    subject: Subject,
    draft: Draft,
    given: Mapping[str, str] | None = None,
    problems: Sequence[Problem] = (),
    *,
    status: int = 200,
    said: str = "",
    warnings: Sequence[str] = (),
) -> Response:
    form = form_of(draft, given, problems, shows_secrets=view.may("secrets", draft.dead))
    return view.page(
        "edit.html",
        status=status,
        form=form,
        id=name_of(draft.letter),  # the form is about this one alone
        dead=draft.dead,
        place=subject.place,
        queues=[id for id in view.tools.site.queues if id == form.to or view.may("edit", id)],
        result=said,
        warnings=warnings,
    )
