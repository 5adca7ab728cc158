"""Keeps what the suite says about each driver in ``build/conformance.json``, for the matrix in docs/drivers.md."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tasuki.testing.conformance import Suite
from tasuki.testing.conformance.stores import StoreSuite

RESULTS = Path(__file__).parents[2] / "build" / "conformance.json"
_PROPERTY = "conformance"

STORES = "stores/"
"""Before the name of a driver: its store."""

Results = dict[str, dict[str, dict[str, Any]]]
"""Driver → suite → ``broker``, ``facts`` of a store, and ``cases``: case → passed, failed, or why it was skipped."""


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Add the driver's name to the report of a case; it travels to the process that collects them."""
    outcome: Any = yield
    report: pytest.TestReport = outcome.get_result()
    suite = getattr(item, "cls", None)
    if report.when == "call" and isinstance(suite, type) and issubclass(suite, Suite):
        driver = item.path.stem.removeprefix("test_")
        if issubclass(suite, StoreSuite):
            driver = f"{STORES}{driver}"
        case = item.name.partition("[")[0]
        entry = dict(_what(suite)) if report.passed else {}  # type: ignore[arg-type]  # a class is hashable
        report.user_properties.append((_PROPERTY, [driver, suite.__name__, case, _words(report), entry]))


@cache
def _what(suite: type[Suite]) -> dict[str, Any]:
    """What a suite runs on, and what its store claims there."""
    tried = suite()
    found: dict[str, Any] = {"broker": tried.version()}
    if isinstance(tried, StoreSuite) and found["broker"]:
        found["facts"] = asdict(tried.facts())
    return found


def _words(report: pytest.TestReport) -> str:
    if not report.skipped or not isinstance(report.longrepr, tuple):
        return report.outcome
    return f"skipped: {report.longrepr[2].removeprefix('Skipped: ')}"


class _Collector:
    def __init__(self) -> None:
        self.found: Results = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties: list[tuple[str, Any]] = report.user_properties
        for name, value in properties:
            if name == _PROPERTY and report.when == "call":
                driver, suite, case, words, what = value
                entry = self.found.setdefault(driver, {}).setdefault(suite, {"broker": "", "cases": {}})
                entry["cases"][case] = words
                entry.update(what)

    def pytest_sessionfinish(self) -> None:
        if not self.found:
            return
        known: Results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        for driver, suites in self.found.items():
            for suite, entry in suites.items():
                before = known.setdefault(driver, {}).setdefault(suite, {"broker": "", "cases": {}})
                before["cases"].update(entry.pop("cases"))
                before.update((key, value) for key, value in entry.items() if value)
        RESULTS.parent.mkdir(exist_ok=True)
        # Whole: another run may read it at this moment (CI tries variants beside the other Pythons).
        made = RESULTS.with_suffix(f".{os.getpid()}")
        made.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        made.replace(RESULTS)


def pytest_configure(config: pytest.Config) -> None:
    """Collect in the process that reports, not in its workers."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Collector(), "conformance results")
