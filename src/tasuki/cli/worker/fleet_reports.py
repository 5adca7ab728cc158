"""Health and metrics of ``run --processes``: the parent asks its processes, and answers for all of them."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasuki import __version__
from tasuki.app.health.health_file import PERIOD, write
from tasuki.app.health.report import Check, Report, Sheet, report_of, stale
from tasuki.app.health.rules import LEVELS, SEEN, ChildFacts, findings_of_children
from tasuki.app.measuring.process import process_part
from tasuki.observe.exposition.snapshots import Snapshot, add, totals_of
from tasuki.supervisor.children.asking import ChildAnswer, Children

_log = logging.getLogger("tasuki.processes")


LOOK = 2.0
"""Seconds between two observations."""


class FleetHealth:
    """Of ``count`` processes; belongs to the running loop. ``file``: the health file for all of them.

    Without a file it asks them only from the first reading on.
    """

    def __init__(self, children: Children, count: int, file: Path | None = None) -> None:
        self._children = children
        self._count = count
        self._file, self._is_read = file, file is not None
        self._sheet = Sheet()
        self._down_since: dict[int, float] = {}
        self._starting_since: dict[int, float] = {}
        self._live_at = time.time()
        self._written_at = 0.0
        self._report = Report(time.time())
        self._looked_at = time.monotonic()
        self._asked_at = self._watched_since = 0.0
        """Time of the loop since which it has looked without a gap, as one in which all were suspended."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            if self._is_read:
                await self.look()
            await asyncio.sleep(LOOK)

    def report(self) -> Report:
        """The last report; the first reading begins to ask."""
        if not self._is_read:
            self._is_read, now = True, time.time()
            self._report = Report(now, (Check("processes", "not_ready", now, "they are being asked"),))
            self._looked_at = time.monotonic()
        report = self._report
        return stale(report, report.time + time.monotonic() - self._looked_at)

    async def look(self) -> Report:
        """Ask all of them now."""
        answers = await self._children.ask("health")
        now = asyncio.get_running_loop().time()
        if now - self._asked_at > SEEN:
            self._watched_since = now
            self._down_since.clear()
            self._starting_since.clear()
        self._asked_at = now
        facts = {number: self._facts(number, answers.get(number), now) for number in range(1, self._count + 1)}
        before, report = self._report, self._sheet.report(findings_of_children(facts), time.time())
        self._report, self._looked_at = report, time.monotonic()
        self._live_at = report.time if report.is_live else self._live_at
        if before.status != report.status or not 0 <= report.time - self._written_at < PERIOD:
            self._write(report, answers)
        return report

    def _facts(self, number: int, answer: ChildAnswer | None, now: float) -> ChildFacts:
        if answer is None:
            self._starting_since.pop(number, None)
            return ChildFacts(down_for=max(now - self._down_since.setdefault(number, now), 0.1))
        self._down_since.pop(number, None)
        report = report_of(answer.value)
        if report is None:
            return ChildFacts(starting_for=max(now - self._starting_since.setdefault(number, now), 0.1))
        self._starting_since.pop(number, None)
        silence = max(now - max(answer.at, self._watched_since), 0.1) if answer.problem else 0.0
        return ChildFacts(silent_for=silence, level=report.status, texts=report.of(*LEVELS[1:]))

    def _write(self, report: Report, answers: Mapping[int, ChildAnswer]) -> None:
        self._written_at = report.time
        if self._file is None:
            return
        processes: dict[str, Any] = {str(number): answer.value for number, answer in answers.items()}
        try:
            write(self._file, {"pid": os.getpid(), **report.as_dict(), "processes": processes}, self._live_at)
        except OSError as error:
            _log.error("cannot write the health file: %s", error)


METRICS = "metrics"


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
        await self._children.ask(METRICS)
        # The desk of all processes is in this one.
        own: Snapshot = {"version": __version__, "python": platform.python_version(), "process": process_part()}
        return add([own, self._ended, *self._last.values()])

    def _answered(self, number: int, name: str, snapshot: Any) -> None:
        if name != METRICS:
            return
        if (last := self._last.get(number)) is not None and last["born"] != snapshot["born"]:
            self._keep(number)  # it has executed itself again, with counters that begin at zero
        self._last[number] = snapshot

    def _keep(self, number: int) -> None:
        """A process has ended; the last snapshot of it is the report at its end, if there was time for one."""
        if (last := self._last.pop(number, None)) is not None:
            self._ended = add([self._ended, totals_of(last)])
