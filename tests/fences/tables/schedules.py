"""Mutants of the place of the worker that fires schedules, and of its mark."""

from __future__ import annotations

from tests.fences.mutant import Mutant

SCHEDULES = [
    Mutant(
        "a schedule's lost place is not noticed",
        "schedules/firing.py",
        "return self._turn is not None and self._clock.monotonic() < self._held_until",
        "return self._turn is not None",
        ("unit/schedules/test_firing_trouble.py::test_a_worker_that_is_cut_off_publishes_nothing_after_its_lease",),
    ),
    Mutant(
        "every worker fires schedules",
        "schedules/firing.py",
        "places=1, lease=LEASE)",
        "places=99, lease=LEASE)",
        ("unit/schedules/test_firing.py::test_each_tick_is_published_once_and_not_early",),
    ),
    Mutant(
        "a mark is written over a newer one",
        "schedules/firing.py",
        "value, version=turn.version, ttl=KEPT)",
        "value, ttl=KEPT)",
        (
            "unit/schedules/test_firing_trouble.py::test_a_worker_that_was_stopped_writes_no_mark_over_the_one_of_its_successor",
        ),
    ),
    Mutant(
        "a beginning goes on without its lease",
        "schedules/firing.py",
        'raise ConflictError("the lease ended before its holder began")',
        "pass",
        ("unit/schedules/test_firing_trouble.py::test_a_worker_that_loses_its_place_as_it_begins_writes_no_more",),
    ),
    Mutant(
        "a worker that has lost its place goes on with its portion",
        "schedules/firing.py",
        "lambda: self._turn is turn and self._has_place())",
        "lambda: True)",
        ("unit/schedules/test_firing_trouble.py::test_a_worker_that_is_cut_off_publishes_nothing_after_its_lease",),
    ),
]
