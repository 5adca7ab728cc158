"""Run mutants: whether a case of a suite fails for a driver that is broken on purpose."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from unittest import SkipTest

from tasuki.contracts.driver import Driver
from tasuki.contracts.state.store import Store
from tasuki.testing.conformance import ShiftedClock, Suite
from tasuki.testing.conformance.rig import open_rig
from tasuki.testing.conformance.stores.rig import StoreRig, StoreSuite, has
from tasuki.testing.mutants.mutant import Mutant, StoreMutant, StoresBroken, Unbroken, UnbrokenStore

AnyMutant = type[Mutant] | type[StoreMutant]

MISSED = "MISSED"
"""How the line of a mutant begins that no case has noticed."""


def noticed(suite: type[Suite], mutant: AnyMutant, cases: Sequence[str] = ()) -> tuple[bool, str]:
    """Whether a case fails for the driver of the suite with this mutation, and which one; or why none does.

    ``cases``: names of cases to try; none: those that should notice the mutant.
    """

    class Broken(suite):  # type: ignore[valid-type, misc]
        patience = min(suite.patience, 6.0)
        case_timeout = 40.0

        def make_driver(self, place: Path, clock: ShiftedClock) -> Driver:
            return _mutated(mutant, super().make_driver(place, clock), clock)

        def maker(self) -> Callable[[Path, ShiftedClock], Driver]:
            return partial(_make, mutant, suite().maker())

        def full(self, store: Store) -> AbstractAsyncContextManager[None]:
            inner = store.inner if isinstance(store, StoreMutant) else store
            return super().full(inner)  # type: ignore[no-any-return]

    if mutant.needs and not asyncio.run(_claims(suite, mutant.needs)):
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


def report(suite: type[Suite], mutants: Iterable[AnyMutant]) -> Iterator[str]:
    """A line for each mutant: ``noticed``, ``skipped`` or ``MISSED``, its name, and the case or the reason.

    First, the driver itself must pass the cases, or their failing would prove nothing.
    """
    mutants = tuple(mutants)
    cases = tuple(dict.fromkeys(name for mutant in mutants for name in mutant.noticed_by))
    unbroken = UnbrokenStore if issubclass(suite, StoreSuite) else Unbroken
    fails, how = noticed(suite, unbroken, cases)
    if fails:
        yield f"{MISSED}  the suite fails without a mutation: {how}"
        return
    for mutant in mutants:
        found, how = noticed(suite, mutant)
        word = "noticed" if found else "skipped" if how.startswith("not applicable") else MISSED
        yield f"{word:<7} {mutant.__name__:<28} {how}"


async def _claims(suite: type[Suite], needed: str) -> bool:
    """Whether the driver, or the store where it is about stores, claims what a mutant needs."""
    if issubclass(suite, StoreSuite):
        async with open_rig(suite()) as rig:
            assert isinstance(rig, StoreRig)
            return has(rig.store.facts, needed)
    with tempfile.TemporaryDirectory(prefix="tasuki-") as place:
        return suite().make_driver(Path(place), ShiftedClock()).capabilities.has(needed)


def _mutated(mutant: AnyMutant, driver: Driver, clock: ShiftedClock) -> Driver:
    return StoresBroken(driver, mutant, clock) if issubclass(mutant, StoreMutant) else mutant(driver)


def _make(mutant: AnyMutant, make: Callable[[Path, ShiftedClock], Driver], place: Path, clock: ShiftedClock) -> Driver:
    return _mutated(mutant, make(place, clock), clock)
