"""The report of a dry run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tasuki.app.dry_run.report import WARNING, DryRun
from tasuki.desk.reading.bodies import line, lines
from tasuki.desk.reading.snapshot import Snapshot
from tasuki.top.frame import amounts
from tasuki.top.frame.cells import Line
from tasuki.top.views.message_text import heading, pair
from tasuki.top.views.view import Row, Text, View

if TYPE_CHECKING:
    from tasuki.desk.viewer import Viewer


class TrialView(View):
    """A text that does not change."""

    crumb = "dry run"
    period = 3600.0

    def __init__(self, report: DryRun) -> None:
        self._report = report

    async def read(self, reading: Viewer, snapshot: Snapshot) -> Text:
        """See :class:`View`."""
        return Text(list(_lines(self._report)))

    def copied(self, row: Row | None) -> str:
        """See :class:`View`."""
        return self._report.message


def _lines(report: DryRun) -> Iterator[Line]:
    took = "" if report.seconds is None else f" after {amounts.age(report.seconds)}"
    yield [(f"Dry run: {report.outcome}{took}", "ok" if report.is_good else "bad"), ("  nothing was changed", "dim")]
    yield [(WARNING, "dim")]
    yield pair("function", line(f"{report.function} of {report.consumer}"))
    if report.error:
        yield from heading("Error")
        yield from ([(each, "bad")] for each in lines(report.error).splitlines())
        yield from ([(each.expandtabs(4), "dim")] for each in lines(report.traceback).splitlines())
    if report.effects:
        yield from heading("It would have")
        for effect in report.effects:
            rest = ", ".join(f"{name} {value}" for name, value in effect.items() if name != "do")
            yield pair(line(effect["do"], 40), line(rest, 500))
    for title, texts in (
        ("Log", [f"{each.get('level')} {each.get('text')}" for each in report.logs]),
        ("Output", lines(report.output).splitlines()),
        ("Errors", lines(report.errors).splitlines()),
        ("Warnings", report.warnings),
    ):
        if texts:
            yield from heading(title)
            yield from ([(line(each, 1000), "")] for each in texts)
