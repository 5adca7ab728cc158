"""Reports: the findings of a process as one document, and as the answer to a probe. No I/O, no clock."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from tasuki.app.health.rules import LEVELS, Finding, Level
from tasuki.moments import iso, unix

Probe = Literal["livez", "readyz"]

STALE = 10.0
"""Seconds after which a report says nothing any more: the process hangs, or is gone."""


class Check(NamedTuple):
    """One finding; ``since``: Unix time at which it got its status."""

    name: str
    status: Level
    since: float
    text: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """How a worker is; ``time``: Unix time of the last observation."""

    time: float
    checks: tuple[Check, ...] = ()

    @property
    def status(self) -> Level:
        """The worst status of a check."""
        return max((check.status for check in self.checks), key=LEVELS.index, default="ok")

    @property
    def worst(self) -> Check | None:
        """The first check with this status; None: all are ok."""
        return None if self.status == "ok" else next(each for each in self.checks if each.status == self.status)

    @property
    def is_live(self) -> bool:
        """Whether a restart would not help."""
        return self.status != "not_live"

    @property
    def is_ready(self) -> bool:
        """Whether it can do its work."""
        return self.status in ("ok", "warning")

    def of(self, *statuses: Level) -> list[str]:
        """The texts of the checks with one of these statuses, each with its name."""
        return [f"{check.name}: {check.text}" for check in self.checks if check.status in statuses]

    def as_dict(self, *, is_whole: bool = True) -> dict[str, Any]:
        """As plain data with dates; not ``is_whole``: only the checks that are not ok."""
        checks = [
            check._asdict() | {"since": iso(check.since)} for check in self.checks if is_whole or check.status != "ok"
        ]
        return {
            "status": self.status,
            "live": self.is_live,
            "ready": self.is_ready,
            "time": iso(self.time),
            "checks": checks,
        }


def report_of(document: object) -> Report | None:
    """The report that ``as_dict`` has written; None: it is none."""
    try:
        checks: Any = document["checks"]  # type: ignore[index]
        found = tuple(Check(each["name"], each["status"], unix(each["since"]), each["text"]) for each in checks)
        report = Report(unix(document["time"]), found)  # type: ignore[index]
        return report if all(check.status in LEVELS for check in found) else None
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(slots=True)
class Sheet:
    """Remembers since when each check has its status."""

    _since: dict[str, tuple[Level, float]] = field(default_factory=dict)

    def report(self, findings: Iterable[tuple[str, Finding]], now: float) -> Report:
        """A report with these findings at this Unix time."""
        before, self._since, checks = self._since, {}, []
        for name, finding in findings:
            level, since = before.get(name, (finding.level, now))
            self._since[name] = finding.level, since if level == finding.level else now
            checks.append(Check(name, finding.level, self._since[name][1], finding.text))
        return Report(now, tuple(checks))


def stale(report: Report, now: float, limit: float = STALE) -> Report:
    """The report, or after ``limit`` seconds without an observation one that says only that.

    A report from the future is of a process that has not looked since the clock was set back: a live one soon does.
    """
    age = now - report.time
    if abs(age) <= limit:
        return report
    text = f"no sign of life for {age:.0f} s" if age > 0 else "no sign of life since the clock was set back"
    return Report(now, (Check("worker", "not_live", min(report.time, now), text),))


def touched(report: Report, at: float, limit: float) -> Report:
    """The report in a file that a live process touched at this Unix time.

    More than ``limit`` seconds later than the report it could not write another one, as on a full disk: then it was
    live, and as ready as the report says.
    """
    if at - report.time <= limit:
        return report
    text = f"no document was written for {at - report.time:.0f} s, the file was only touched; the log has the reason"
    checks = [check for check in report.checks if check.status != "not_live"]
    return Report(at, (*checks, Check("file", "warning", report.time, text)))


def respond(report: Report, probe: Probe, *, verbose: bool = False) -> tuple[int, bytes]:
    """The HTTP status and the JSON body for ``/livez`` or ``/readyz``; the verbose body has all checks."""
    is_well = report.is_live if probe == "livez" else report.is_ready
    return (200 if is_well else 503), json.dumps(report.as_dict(is_whole=verbose)).encode() + b"\n"


def problems(report: Report, *, asks_ready: bool) -> list[str]:
    """Why a worker is not live, or with ``asks_ready`` not ready; empty if it is."""
    return report.of("not_live", "not_ready") if asks_ready else report.of("not_live")
