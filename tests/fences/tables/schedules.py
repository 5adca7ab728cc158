"""Mutants of the place of the worker that fires schedules, and of its mark."""

from __future__ import annotations

from tests.fences.mutant import Mutant

_FIRING = ("unit/schedules/test_firing.py", "unit/schedules/test_firing_trouble.py")

SCHEDULES = [
    Mutant(
        "a schedule's lost place is not noticed",
        "schedules/firing.py",
        "return self._turn is not None and self._clock.monotonic() < self._held_until",
        "return self._turn is not None",
        _FIRING,
    ),
    Mutant(
        "every worker fires schedules",
        "schedules/firing.py",
        "        return end is not None\n",
        "        return True\n",
        _FIRING,
    ),
    Mutant(
        "a mark is written over a newer one",
        "schedules/firing.py",
        "value, version=turn.version, ttl=KEPT)",
        "value, ttl=KEPT)",
        _FIRING,
    ),
    Mutant(
        "a beginning goes on without its lease",
        "schedules/firing.py",
        'raise ConflictError("the lease ended before its holder began")',
        "pass",
        _FIRING,
    ),
    Mutant(
        "a worker that has lost its place goes on with its portion",
        "schedules/firing.py",
        "lambda: self._turn is turn and self._has_place())",
        "lambda: True)",
        _FIRING,
    ),
]
