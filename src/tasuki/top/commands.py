"""Commands: from a key to acts: check the rights, ask, carry out one act after the other, and show the outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tasuki.desk.acts.acts import Order
from tasuki.desk.presentation.words import tell
from tasuki.desk.reading.bodies import line
from tasuki.desk.site import problem_of
from tasuki.desk.viewer import Viewer
from tasuki.errors import TasukiError
from tasuki.top.editor import LetterEditor
from tasuki.top.frame.cells import things
from tasuki.top.frame.scene import Foot
from tasuki.top.place import ViewPlace
from tasuki.top.prompt import Prompt
from tasuki.top.views.view import UNDO, Key

if TYPE_CHECKING:
    from tasuki.desk.reading.snapshot import Snapshot

_log = logging.getLogger("tasuki.top")
_GROWTH = 1.1
"""How many more messages an act may find than its question said."""
_MORE = "There are more now. "


class Commands:
    """One run of acts at a time; ``say`` shows a text, ``ask`` a question, ``done`` follows after acts."""

    def __init__(
        self,
        reading: Viewer,
        say: Callable[[Foot], None],
        ask: Callable[[Prompt], None],
        done: Callable[[], None],
        mending: LetterEditor,
    ) -> None:
        self._reading = reading
        self._say, self._ask, self._done, self._mending = say, ask, done, mending
        self.task: asyncio.Task[None] | None = None
        self.snapshot: Snapshot | None = None
        """The one on the screen."""
        self.last_batch: Order | None = None
        """What undoes the batch that was begun here last."""

    def allowed(self, place: ViewPlace) -> list[Key]:
        """The keys that act on the row under the cursor, and that this actor may use."""
        found = [key for key in place.view.keys if self._is_allowed(place.view.order(key, place.current))]
        if all(key.key != UNDO.key for key in place.view.keys) and self._is_allowed(self.last_batch):
            found.append(UNDO)
        return found

    def _is_allowed(self, order: Order | None) -> bool:
        return order is not None and self._reading.may(order.act, order.id)

    def press(self, key: Key, place: ViewPlace) -> None:
        """Begin with the selected rows: ask, or act at once."""
        rows = place.selected if key.is_for_many else [place.current]
        found = place.view.orders(key, rows)
        orders = [order for order in found if self._reading.may(order.act, order.id)]
        if not orders:
            denied = f"No policy allows you queue.admin.{found[0].act} on {found[0].id}." if found else ""
            self._say(Foot("failed", denied or f"{key.key} ({key.label}) does nothing here."))
        elif self._is_busy():
            pass
        elif key.does == "edit":
            self._start(self._mending.edit(orders[0]))
        elif key.does == "try":
            self._ask(Prompt(place.view.question(key, orders), lambda _: self._start(self._mending.try_out(orders[0]))))
        elif key.asks or len(orders) > 1:
            self._question(key, orders, place)
        else:
            self._begin(orders, place)

    def _is_busy(self) -> bool:
        """Whether an act is under way; then that is said."""
        if self.task is None or self.task.done():
            return False
        self._say(Foot("failed", "The last act has not ended yet."))
        return True

    def undo(self) -> None:
        """Ask whether to undo the batch that was begun here last."""
        order = self.last_batch
        if self._is_busy():
            return
        if order is None:
            self._say(Foot("failed", "No batch was begun here; 5 shows the last batches of all."))
        elif not self._reading.may(order.act, order.id):
            self._say(Foot("failed", f"No policy allows you queue.admin.{order.act} on {order.id}."))
        else:
            self._ask(Prompt(f"Undo the last batch on {order.id}?", lambda _: self._start(self._carry_out([order]))))

    def _question(self, key: Key, orders: Sequence[Order], place: ViewPlace, before: str = "") -> None:
        if key.asks == "name":
            self._ask_name(orders[0], self._count(orders[0]))
            return
        count = place.view.count(orders)

        def answer(_: str) -> None:
            if place.view.count(orders) > count * _GROWTH:
                self._question(key, orders, place, _MORE)
            else:
                self._begin(orders, place)

        self._ask(Prompt(before + place.view.question(key, orders), answer))

    def _ask_name(self, order: Order, count: int, before: str = "") -> None:
        def answer(typed: str) -> None:
            if typed == order.id:
                self._start(self._purge(order, count))
            else:
                self._say(Foot("failed", f"That is not {order.id}: nothing was removed."))

        text = f"{before}Remove the {things(count, 'message')} that wait in {order.id}, forever? Type {order.id}: "
        self._ask(Prompt(text, answer, is_typed=True))

    def _count(self, order: Order) -> int:
        row = None if self.snapshot is None else self.snapshot.queues.get(order.id)
        return 0 if row is None else row.waiting

    async def _purge(self, order: Order, count: int) -> None:
        """Purge, unless there are many more messages by now: then ask again."""
        try:
            self.snapshot = await self._reading.ask(partial(self._reading.snapshot, now=True))
        except TasukiError as error:
            self._say(Foot("failed", problem_of(error)))
            return
        if (now := self._count(order)) > count * _GROWTH:
            self._ask_name(order, now, _MORE)
        else:
            await self._carry_out([order])

    def _begin(self, orders: Sequence[Order], place: ViewPlace) -> None:
        place.clear_choice()
        self._start(self._carry_out(orders))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self.task = asyncio.get_running_loop().create_task(self._whole(work))

    async def _whole(self, work: Coroutine[Any, Any, None]) -> None:
        """A mistake of ours must not end the screen, nor end unseen."""
        try:
            await work
        except Exception as error:
            _log.exception("top: an act failed")
            self._say(Foot("failed", line(f"{type(error).__name__}: {error}")))

    async def _carry_out(self, orders: Sequence[Order]) -> None:
        said, failed = "", []
        for number, order in enumerate(orders):
            self._say(Foot("told", f"{order.act}: {number:,} of {len(orders):,} …"))
            try:
                done = await self._reading.ask(partial(self._reading.carry_out, order))
            except (TasukiError, ValueError, LookupError) as error:
                failed.append(problem_of(error))
            else:
                said = tell("en", done.key, done.values)
                if order.bulk is not None:
                    said += " u undoes it, 5 shows how far it is."
                    options = {"batch": str(done.values["batch"]), "verb": "undo"}
                    self.last_batch = Order("batch", "queue", order.id, options=options)
        self._say(_outcome(orders, said, failed))
        self._done()


def _outcome(orders: Sequence[Order], said: str, failed: Sequence[str]) -> Foot:
    """The last line after the acts."""
    if not failed:
        return Foot("told", line(said) if len(orders) == 1 else f"{orders[0].act}: all {len(orders):,} done.")
    if len(orders) == 1:
        return Foot("failed", failed[0])
    return Foot("failed", f"{orders[0].act}: {len(failed):,} of {len(orders):,} failed; the last: {failed[-1]}")
