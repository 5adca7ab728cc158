"""The page of a dry run: what it does and does not, and what came of it."""

from __future__ import annotations

from starlette.responses import Response

from tasuki.desk.acts.acts import Order
from tasuki.desk.pages.view import View
from tasuki.desk.pages.workbench.found import subject_of
from tasuki.desk.reading.bodies import line, lines
from tasuki.workbench.dry_run.report import DryRun

_SHOWN = 200
"""Effects and log lines of a page."""


async def dry_run(view: View) -> Response:
    """Ask, or run it and show the report."""
    subject = await subject_of(view, "dry_run")
    report: DryRun | None = None
    if view.request.method == "POST":
        await view.fields(1024, 10)
        message = subject.message
        order = Order("dry_run", "queue", subject.queue.id, message.id, subject.place, options={"message": message})
        report = (await view.carry_out(order, is_said=False)).values["report"]
    return view.page(
        "dry_run.html",
        id=subject.message.id,
        queue=subject.queue.id,
        place=subject.place,
        report=report,
        effects=[] if report is None else [_effect(each) for each in report.effects[:_SHOWN]],
        logs="" if report is None else lines("\n".join(_log_line(each) for each in report.logs[:_SHOWN])),
        lines=lines,
    )


def _effect(effect: dict[str, object]) -> tuple[str, str]:
    """What, and about what."""
    facts = [f"{name}={value}" for name, value in effect.items() if name != "do" and value not in (None, "", {})]
    return line(effect["do"], 20), line("  ".join(facts), 500)


def _log_line(record: dict[str, object]) -> str:
    return f"{record.get('level')} {record.get('logger')}: {record.get('text')}"
