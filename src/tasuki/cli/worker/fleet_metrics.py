"""The metrics of ``run --processes``: the sum over the processes, of which no counter falls when one ends."""

from __future__ import annotations

import platform
from typing import Any

from tasuki import __version__
from tasuki.app.measuring.process import process_part
from tasuki.observe.exposition.snapshots import Snapshot, add, totals_of
from tasuki.supervisor.children.asking import Children

QUESTION = "metrics"


class FleetMetrics:
    """Asks the processes for their snapshots, and keeps the last counts of each that has ended.

    A snapshot is taken when it arrives, not when a question to all processes is over: by then its process may have
    ended, and its counts are kept already.
    """

    def __init__(self, children: Children) -> None:
        self._children = children
        children.on_answer, children.on_end = self._answered, self._keep
        self._ended: Snapshot = {}
        self._last: dict[int, Snapshot] = {}

    async def snapshot(self) -> Snapshot:
        """The metrics of all processes together; one that does not answer in a second counts with its last snapshot."""
        await self._children.ask(QUESTION)
        # The desk of all processes is in this one.
        own: Snapshot = {"version": __version__, "python": platform.python_version(), "process": process_part()}
        return add([own, self._ended, *self._last.values()])

    def _answered(self, number: int, name: str, snapshot: Any) -> None:
        if name != QUESTION:
            return
        if (last := self._last.get(number)) is not None and last["born"] != snapshot["born"]:
            self._keep(number)  # it has executed itself again, with counters that begin at zero
        self._last[number] = snapshot

    def _keep(self, number: int) -> None:
        """A process has ended; the last snapshot of it is the report at its end, if there was time for one."""
        if (last := self._last.pop(number, None)) is not None:
            self._ended = add([self._ended, totals_of(last)])
