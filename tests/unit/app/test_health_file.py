"""The health file, and the reports in it and for probes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasuki.app.health.health_file import read, write
from tasuki.app.health.report import STALE, Check, Report, Sheet, problems, report_of, respond, stale
from tasuki.app.health.rules import Finding, Level

AWAY = Finding("not_ready", "away")


def report(*levels: Level, time: float = 100.0) -> Report:
    return Sheet().report([(f"check {number}", Finding(level, "why")) for number, level in enumerate(levels)], time)


def doc(*levels: Level) -> dict[str, Any]:
    return report(*levels).as_dict()


@pytest.mark.parametrize(
    ("levels", "status", "live", "ready"),
    [
        ([], "ok", True, True),
        (["ok", "warning"], "warning", True, True),
        (["not_ready", "warning"], "not_ready", True, False),
        (["not_ready", "not_live"], "not_live", False, False),
    ],
)
def test_a_report_is_as_bad_as_its_worst_check(levels: list[Level], status: str, live: bool, ready: bool) -> None:
    found = report(*levels)
    assert (found.status, found.is_live, found.is_ready) == (status, live, ready)
    assert report_of(json.loads(json.dumps(found.as_dict()))) == found
    assert [respond(found, probe)[0] for probe in ("livez", "readyz")] == [
        200 if well else 503 for well in (live, ready)
    ]


def test_the_body_of_a_probe_has_what_is_wrong_and_verbose_all() -> None:
    found = report("ok", "not_ready")
    brief, verbose = (json.loads(respond(found, "readyz", verbose=each)[1]) for each in (False, True))
    assert [check["name"] for check in brief["checks"]] == ["check 1"]
    assert [check["name"] for check in verbose["checks"]] == ["check 0", "check 1"]
    assert brief["checks"][0] == {
        "name": "check 1",
        "status": "not_ready",
        "since": "1970-01-01T00:01:40.000Z",
        "text": "why",
    }
    assert problems(found, asks_ready=False) == []
    assert problems(found, asks_ready=True) == ["check 1: why"]


def test_a_check_keeps_the_time_of_its_status() -> None:
    sheet = Sheet()
    times = [
        sheet.report([("a", finding)], now).checks[0].since
        for now, finding in ((1, Finding()), (2, Finding("ok", "paused")), (3, AWAY), (4, AWAY), (5, Finding()))
    ]
    assert times == [1, 1, 3, 3, 5]
    assert sheet.report([], 6).checks == ()
    assert sheet.report([("a", Finding())], 7).checks[0].since == 7


def test_an_old_report_says_only_that() -> None:
    found = report("ok")
    assert stale(found, 100 + STALE) == found
    old = Check("worker", "not_live", 100.0, f"no sign of life for {STALE + 1:.0f} s")
    assert stale(found, 101 + STALE).checks == (old,)


def test_a_file_of_a_process_that_is_not_live_is_old(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    file.touch()
    write(file, doc("not_live"), live_at=42.0)
    assert (file.stat().st_mtime, read(file)) == (42.0, doc("not_live"))
    write(file, doc(), live_at=42.0)
    assert file.stat().st_mtime > 42.0


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "7", json.dumps({"time": "now"}), json.dumps({"time": 1}), json.dumps({"time": 1, "checks": [{}]}),
     json.dumps({"time": 1, "checks": [{"name": "a", "status": "odd", "since": 1, "text": ""}]})],
)  # fmt: skip
def test_what_is_no_document(tmp_path: Path, text: str) -> None:
    assert report_of(read(tmp_path / "alive")) is None
    (tmp_path / "alive").write_text(text)
    assert report_of(read(tmp_path / "alive")) is None
