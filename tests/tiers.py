"""What ``make test`` leaves to ``make nightly``: a quicker test holds the same rule, or a rule that seldom changes.

A file that is named on the command line runs all the same.
"""

from __future__ import annotations

from typing import Final

FILES: Final = (
    # Suites on second drivers, and mutants: each is held on a first driver.
    "conformance/test_directory.py",
    "conformance/test_mutants.py",
    "conformance/test_threaded.py",
    "conformance/test_twin.py",
    "conformance/stores/test_far_memory.py",
    "conformance/stores/test_mutants.py",
    "conformance/stores/test_twin.py",
    # What users and strangers may do to a whole system: many processes, browsers, drivers, or hundreds of inputs.
    "e2e/test_attacks.py",
    "e2e/test_batches_meeting.py",
    "e2e/test_beginners.py",
    "e2e/test_borrowing.py",
    "e2e/test_call_budgets.py",
    "e2e/test_coming_from.py",
    "e2e/test_consumer_count.py",
    "e2e/test_counts_of_rabbitmq.py",
    "e2e/test_desk_browser.py",
    "e2e/test_desk_dead_browser.py",
    "e2e/test_desk_drivers.py",
    "e2e/test_desk_flood.py",
    "e2e/test_desk_tasks.py",
    "e2e/test_desk_workbench.py",
    "e2e/test_django_celery.py",
    "e2e/test_django_isolation.py",
    "e2e/test_django_page.py",
    "e2e/test_django_processes.py",
    "e2e/test_django_tasks.py",
    "e2e/test_django_test_cases.py",
    "e2e/test_dry_run.py",
    "e2e/test_edit_drivers.py",
    "e2e/test_flask.py",
    "e2e/test_fleet_metrics.py",
    "e2e/test_hostile_bodies.py",
    "e2e/test_hostile_scripts.py",
    "e2e/test_isolated_modules.py",
    "e2e/test_largest_letters.py",
    "e2e/test_looking_makes_nothing.py",
    "e2e/test_mariadb_example.py",
    "e2e/test_moving_to_another_broker.py",
    "e2e/test_names_of_any_language.py",
    "e2e/test_new_projects.py",
    "e2e/test_page_runs.py",
    "e2e/test_pausing.py",
    "e2e/test_real_app.py",
    "e2e/test_recycling.py",
    "e2e/test_reload_drivers.py",
    "e2e/test_snooze_rates.py",
    "e2e/test_top.py",
    "e2e/test_traces_elsewhere.py",
    "e2e/test_truth.py",
    "e2e/test_wait_calls.py",
    "e2e/test_wait_calls_lua.py",
    "e2e/test_worker_notices.py",
)
"""Below ``tests``."""

FAULTS: Final = ("test_dead_workers.py", "test_kill_worker.py", "test_recovery.py")
"""Of ``tests/faults``, all but these are left: the conformance suite kills, cuts and silences for each clause."""


def is_nightly(path: str) -> bool:
    """Say it of a file below ``tests``."""
    folder, _, name = path.rpartition("/")
    is_fault = folder.startswith("faults") and name.startswith("test_")
    return path in FILES or (is_fault and name not in FAULTS)
