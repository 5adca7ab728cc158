"""The metrics of ``run --processes``: the sum over the processes, of which no counter falls when one ends."""

from __future__ import annotations

import platform
from collections.abc import Mapping

from tasuki import __version__
from tasuki.app.measuring.process import usage
from tasuki.observe.exposition.snapshots import Snapshot, add, totals_of
from tasuki.supervisor.children.asking import Answer, Children

QUESTION = "metrics"


class FleetMetrics:
    """Asks the processes for their snapshots, and keeps the last counts of each that has ended."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._ended: Snapshot = {}
        self._last: dict[int, Snapshot] = {}

    async def snapshot(self) -> Snapshot:
        """The metrics of all processes together; one that does not answer in a second counts with its last snapshot."""
        for number, answer in (await self._children.ask(QUESTION)).items():
            self._take(number, answer.value)
        own: Snapshot = {"version": __version__, "python": platform.python_version(), "process": usage()}
        return add([own, self._ended, *self._last.values()])

    def ended(self, number: int, answers: Mapping[str, Answer]) -> None:
        """A process has ended; its last answer is its report at the end, if there was time for one."""
        if (answer := answers.get(QUESTION)) is not None:
            self._take(number, answer.value)
        self._keep(number)

    def _take(self, number: int, snapshot: Snapshot | None) -> None:
        if not snapshot:
            return
        if (last := self._last.get(number)) is not None and last["born"] != snapshot["born"]:
            self._keep(number)  # it has executed itself again, with counters that begin at zero
        self._last[number] = snapshot

    def _keep(self, number: int) -> None:
        if (last := self._last.pop(number, None)) is not None:
            self._ended = add([self._ended, totals_of(last)])
