"""Run mutants: whether a case of a suite fails for a driver that is broken on purpose."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from unittest import SkipTest

from tasuki.contracts.driver import Capabilities, Driver
from tasuki.testing.conformance import DriverConformance, ShiftedClock
from tasuki.testing.mutants.mutant import Mutant, Unbroken

MISSED = "MISSED"
"""How the line of a mutant begins that no case has noticed."""


def noticed(suite: type[DriverConformance], mutant: type[Mutant], cases: Sequence[str] = ()) -> tuple[bool, str]:
    """Whether a case fails for the driver of the suite with this mutation, and which one; or why none does.

    ``cases``: names of cases to try; none: those that should notice the mutant.
    """

    class Broken(suite):  # type: ignore[valid-type, misc]
        patience = min(suite.patience, 6.0)
        case_timeout = 40.0

        def make_driver(self, place: Path, clock: ShiftedClock) -> Driver:
            return mutant(super().make_driver(place, clock))

        def maker(self) -> Callable[[Path, ShiftedClock], Driver]:
            return partial(_make, mutant, suite().maker())

    if mutant.needs and not _capabilities(suite).has(mutant.needs):
        return False, f"not applicable: lacks {mutant.needs}"
    reason = "no case"
    for name in cases or mutant.noticed_by:
        run = getattr(Broken(), name)
        try:
            run()
        except SkipTest as skip:
            reason = str(skip)
        except Exception as error:
            return True, f"{name}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:150]
        else:
            reason = f"{name} passes"
    return False, reason


def report(suite: type[DriverConformance], mutants: Iterable[type[Mutant]]) -> Iterator[str]:
    """A line for each mutant: ``noticed``, ``skipped`` or ``MISSED``, its name, and the case or the reason.

    First, the driver itself must pass the cases, or their failing would prove nothing.
    """
    mutants = tuple(mutants)
    cases = tuple(dict.fromkeys(name for mutant in mutants for name in mutant.noticed_by))
    fails, how = noticed(suite, Unbroken, cases)
    if fails:
        yield f"{MISSED}  the suite fails without a mutation: {how}"
        return
    for mutant in mutants:
        found, how = noticed(suite, mutant)
        word = "noticed" if found else "skipped" if how.startswith("not applicable") else MISSED
        yield f"{word:<7} {mutant.__name__:<28} {how}"


def _capabilities(suite: type[DriverConformance]) -> Capabilities:
    with tempfile.TemporaryDirectory(prefix="tasuki-") as place:
        return suite().make_driver(Path(place), ShiftedClock()).capabilities


def _make(
    mutant: type[Mutant], make: Callable[[Path, ShiftedClock], Driver], place: Path, clock: ShiftedClock
) -> Driver:
    return mutant(make(place, clock))
