"""Editor: one message is edited in ``$EDITOR`` and sent again, or tried out without any effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tasuki.dead.editing.building import Wanted
from tasuki.dead.editing.document import annotated, changes, read, write
from tasuki.dead.editing.edit import Draft
from tasuki.dead.editing.problems import BODY, EditError, Problem
from tasuki.desk.acts.messages import check_edit, draft_of
from tasuki.desk.presentation.words import tell
from tasuki.desk.reading.bodies import line
from tasuki.desk.reading.messages import find
from tasuki.desk.site import problem_of
from tasuki.desk.viewer import Viewer
from tasuki.errors import PublishError, TasukiError
from tasuki.top.frame.scene import Foot
from tasuki.top.views.message import TrialView

if TYPE_CHECKING:
    from tasuki.desk.acts.acts import ActResult, Order
    from tasuki.message import Message

_FAILURES = (TasukiError, ValueError, LookupError)


class LetterEditor:
    """``write``: lets the user change a text, and returns it; ``show``: opens a view; ``done`` follows after an act."""

    def __init__(
        self,
        reading: Viewer,
        say: Callable[[Foot], None],
        show: Callable[[TrialView], None],
        write: Callable[[str], str | None],
        done: Callable[[], None],
    ) -> None:
        self._reading = reading
        self._say, self._show, self._write, self._done = say, show, write, done

    async def edit(self, order: Order) -> None:
        """Open the editor until the message is valid, or comes back unchanged, and send it."""
        try:
            draft = await self._reading.ask(partial(self._draft, order))
            opened = write(draft.letter.id, draft.dead, draft.to, draft.headers, draft.shown)
            while True:
                document = self._write(opened)
                if document is None or not document.strip() or document.rstrip("\n") == opened.rstrip("\n"):
                    self._say(Foot("failed", "Nothing was sent: the text came back unchanged."))
                    return
                try:
                    done = await self._reading.ask(partial(self._send, order, draft, document))
                    break
                except PublishError as error:  # the text of the user must not be lost
                    problems = error.problems if isinstance(error, EditError) else (Problem(BODY, str(error)),)
                    opened = annotated(document, problems)
        except _FAILURES as error:
            self._say(Foot("failed", problem_of(error)))
            return
        self._say(Foot("told", line(tell("en", done.key, done.values))))
        self._done()

    async def _draft(self, order: Order) -> Draft:
        reading, letter = self._reading, await self._message(order)
        return await draft_of(reading.site, order.id, letter, None, reading.session)

    async def _message(self, order: Order) -> Message:
        found = await find(self._reading.site, order.id, order.message, order.place)
        if found.message is None:
            raise LookupError(f"message {order.message} does not wait in {order.id} any more")
        return found.message

    async def _send(self, order: Order, draft: Draft, document: str) -> ActResult:
        """Raises EditError, with every problem: nothing was sent."""
        found = read(document, has_text=draft.shown.form != "bytes")
        wanted = Wanted(text=found.text, headers=changes(draft.headers, found.headers))
        made = await check_edit(self._reading.site, draft, wanted, self._reading.session)
        options = {"draft": draft, "made": made, "keep": False}
        return await self._reading.carry_out(replace(order, options=options))

    async def try_out(self, order: Order) -> None:
        """Run the handler in its own process, and show what it would have done."""
        self._say(Foot("told", f"dry run of {line(order.message)} …"))
        try:
            done = await self._reading.ask(partial(self._try, order))
        except _FAILURES as error:
            self._say(Foot("failed", problem_of(error)))
            return
        self._say(Foot())
        self._show(TrialView(done.values["report"]))

    async def _try(self, order: Order) -> ActResult:
        return await self._reading.carry_out(replace(order, options={"message": await self._message(order)}))
