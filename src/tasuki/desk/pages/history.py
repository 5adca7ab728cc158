"""The last hour of a queue: the tab of its page, and each minute as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from tasuki.desk.looks import numbers
from tasuki.desk.looks.charts import Chart, chart, chart_of
from tasuki.desk.pages.view import View
from tasuki.desk.reading.observed.past import QueuePast
from tasuki.observe.history.hours import Span, five_minutes
from tasuki.observe.history.minutes import MINUTES

_COLUMNS = "start,published,done,failed,dead,ready,wait_p50,wait_p95,wait_p99,run_p50,run_p95,run_p99"


@dataclass(frozen=True, slots=True)
class HourTab:
    """What the tab shows."""

    past: QueuePast
    chart: Chart
    steps: Chart
    spans: Sequence[Span]


def tab_of(past: QueuePast | None) -> HourTab | None:
    """The tab of a queue; None: nothing happened."""
    if past is None:
        return None
    steps = past.hour.steps(past.newest)
    lines = [(name, [step[at] for step in steps]) for at, name in enumerate(("published", "done", "failed"))]
    return HourTab(past, chart_of(past.lines), chart(lines, 590, 110), five_minutes(past.hour, past.newest))


async def csv(view: View) -> Response:
    """Sixty lines, one a minute; times of people in UTC, durations in seconds."""
    id = view.path[1]
    row = (await view.tools.sampler.latest()).queues[id]
    lines = [_COLUMNS]
    if (past := row.past) is not None:
        lines += [_line(past.hour.span(minute, minute)) for minute in range(past.newest - MINUTES + 1, past.newest + 1)]
    name = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in id)[:100]
    headers = {"content-disposition": f'attachment; filename="{name}-history.csv"', "cache-control": "no-store"}
    return Response("\r\n".join(lines) + "\r\n", headers=headers, media_type="text/csv; charset=utf-8")


def _line(span: Span) -> str:
    seconds = ["" if value is None else f"{value:.6g}" for value in (*span.wait, *span.run)]
    counts = [str(each) for each in (span.published, span.done, span.failed, span.dead)]
    return ",".join([numbers.iso(span.at), *counts, "" if span.ready is None else str(span.ready), *seconds])
