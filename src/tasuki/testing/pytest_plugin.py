"""The pytest plugin: fixtures for tests of code that uses Tasuki.

It is loaded in every run of pytest where Tasuki is installed, so it imports nothing but pytest.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.testing.clock import FakeClock
    from tasuki.testing.twin.test_app import TestApp


@pytest.fixture
def tasuki_clock() -> FakeClock:
    """A clock that stands still until the test calls ``advance``."""
    from tasuki.testing.clock import FakeClock

    return FakeClock()


@pytest.fixture
def tasuki_target(pytestconfig: pytest.Config) -> App | Path | str:
    """What ``tasuki_app`` is a twin of: ``app`` of ``[tool.tasuki]`` in ``pyproject.toml``; override it for another.

    An App, ``package.module:app``, or the folder of a YAML project.
    """
    from tasuki.testing.twin.target import find_target

    return find_target(pytestconfig.rootpath)


@pytest.fixture
def tasuki_app(tasuki_target: App | Path | str, pytestconfig: pytest.Config) -> Generator[TestApp]:
    """A strict TestApp of the project, for async tests and plain ones; see :class:`tasuki.testing.TestApp`."""
    from tasuki.testing.twin.target import load_target
    from tasuki.testing.twin.test_app import TestApp

    with TestApp(load_target(tasuki_target, pytestconfig.rootpath), strict=True) as twin:
        yield twin


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Add the messages of its twin to the report of a failed test, whose unread errors are no second failure."""
    report = yield
    twin = getattr(item, "funcargs", {}).get("tasuki_app")
    if report.when == "call" and report.failed and twin is not None:
        twin.strict = False
        report.sections.append(("tasuki", twin.summary()))
    return report
