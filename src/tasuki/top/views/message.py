"""One message: the error first, then why it is where it is, its body and its headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasuki.app.explain.rule import Explanation
from tasuki.desk.acts.acts import Order
from tasuki.desk.reading.bodies import body_of, line
from tasuki.desk.reading.listed.rows import row_of, state_of
from tasuki.desk.reading.messages import Found, attempts, find
from tasuki.desk.reading.snapshot import QueueRow, Snapshot
from tasuki.desk.site import AwayError, problem_of
from tasuki.errors import DriverError
from tasuki.top.views.message_text import Shown, text_of
from tasuki.top.views.view import EDIT, TRY, Key, Row, Text, View, order_on, question_on

if TYPE_CHECKING:
    from tasuki.app.assembly import Assembly
    from tasuki.desk.viewer import Viewer


class MessageView(View):
    """A text; the report of the workers on the message follows with the next refresh."""

    keys = (
        Key("r", "retry", "send a dead letter back to the queue where it failed"),
        EDIT,
        TRY,
        Key("D", "delete", "delete a dead letter"),
        Key("K", "cancel", "cancel the message, also if it runs"),
    )

    def __init__(self, queue: str, id: str, place: int, *, is_about_why: bool = False) -> None:
        self.queue, self.id, self.crumb = queue, id, line(id, 80)
        self.goes_to = "why" if is_about_why else ""
        self._place = place
        self._state = ""
        self._kept = True

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Text:
        """See :class:`View`."""
        row = snapshot.queues.get(self.queue)
        if row is None:
            return _only(f"Queue {self.queue} is not in the project any more.")
        self._kept = reading.keeps(self.queue)
        if not reading.may("peek", self.queue):
            return _only(f"You may not see it: no policy allows queue.admin.peek on {self.queue}.")
        try:
            found = await find(reading.site, self.queue, self.id, self._place)
            if found.message is not None:
                self._place = found.place
            letters = row.dead_letters if row.dead_letters and reading.may("peek", row.dead_letters) else ""
            told = await reading.asked.explained(self.queue, found.id, found, letters)
            return text_of(await self._shown(reading, row, found, told), snapshot.now)
        except (DriverError, AwayError) as error:
            return _only(problem_of(error))

    async def _shown(self, reading: Viewer, row: QueueRow, found: Found, told: Explanation) -> Shown:
        running = [each for each in row.handlers if each.message.id == found.id]
        self._state = state_of(row, found.message, found.place, bool(running), found.status)
        failed, _ = await attempts(reading.site, self.queue, found.id, found.message)
        shown = Shown(self.id, self.queue, self._state, running, found, told, failed)
        message = found.message
        if message is None:
            return shown

        async def work(live: Assembly) -> Shown:
            source = live.queues[self.queue]
            return shown.of(row_of(source, message, found.place), body_of(source, message))

        return await reading.site.at(self.queue, work)

    def explain(self, row: Row | None) -> View | None:
        """See :class:`View`."""
        return self

    def copied(self, row: Row | None) -> str:
        """See :class:`View`."""
        return self.id

    def order(self, key: Key, row: Row | None) -> Order | None:
        """See :class:`View`."""
        is_there = self._state in ("waiting", "delayed", "retrying", "running", "dead")
        return order_on(key, self.queue, self.id, self._place, self._state) if is_there else None

    def question(self, key: Key, orders: Sequence[Order]) -> str:
        """See :class:`View`."""
        return question_on(key, orders, kept=self._kept)


def _only(text: str) -> Text:
    return Text([[(text, "warn")]])
