"""Run the tests of ``django.tasks`` in FOLDER (``tests/tasks`` of Django's source): all but seven must pass."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

CANNOT = {
    # They assert the classes of Django's own backends.
    "test_dummy_backend.DummyBackendTestCase.test_using_correct_backend",
    "test_immediate_backend.ImmediateBackendTestCase.test_using_correct_backend",
    "test_tasks.TaskTestCase.test_using_correct_backend",
    "test_tasks.TaskTestCase.test_get_backend",
    # They assert that results and run_after are not supported.
    "test_immediate_backend.ImmediateBackendTestCase.test_cannot_get_result",
    "test_immediate_backend.ImmediateBackendTestCase.test_cannot_refresh_result",
    "test_immediate_backend.ImmediateBackendTestCase.test_cannot_pass_run_after",
}
"""The tests that no other backend can pass."""
FEWEST = 85
"""Tests of Django 6.1: fewer ran none at all."""
PATHS = {
    "django.tasks.backends.immediate.ImmediateBackend": "tests.django_suite.modes.Immediate",
    "django.tasks.backends.dummy.DummyBackend": "tests.django_suite.modes.Dummy",
}
"""The backends in the settings of the tests → ours."""


def copy_with_our_backends(source: Path, target: Path) -> None:
    """Copy the tests; imports of Django's classes stay."""
    shutil.copytree(source, target)
    for path in target.glob("*.py"):
        text = path.read_text()
        for theirs, ours in PATHS.items():
            text = text.replace(f'"{theirs}"', f'"{ours}"')
        path.write_text(text)


def run() -> tuple[int, set[str]]:
    """How many tests ran, and the names of those that failed."""
    import django
    from django.test.utils import get_runner

    django.setup()
    from django.conf import settings

    runner = get_runner(settings)(verbosity=1, interactive=False)
    runner.setup_test_environment()
    suite: unittest.TestSuite = runner.build_suite(["tasks"])
    databases = runner.setup_databases(aliases=runner.get_databases(suite))
    try:
        result: unittest.TestResult = runner.run_suite(suite)
    finally:
        runner.teardown_databases(databases)
    failed = [*result.failures, *result.errors]
    # A part of a test (subTest) is named by its test.
    return result.testsRun, {getattr(test, "test_case", test).id().removeprefix("tasks.") for test, _ in failed}


def main(source: Path) -> int:
    """The exit code: 0 if exactly the seven have failed."""
    with tempfile.TemporaryDirectory() as folder:
        copy_with_our_backends(source, Path(folder, "tasks"))
        sys.path.insert(0, folder)
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.django_suite.settings"
        count, failed = run()
    for name in sorted(failed - CANNOT):
        print(f"FAILED, and should pass: {name}")
    for name in sorted(CANNOT - failed):
        print(f"passed, and should not, for no other backend can: {name}")
    print(f"django.tasks: {count - len(failed)} of {count} tests pass; {len(failed & CANNOT)} cannot")
    return 0 if failed == CANNOT and count >= FEWEST else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
