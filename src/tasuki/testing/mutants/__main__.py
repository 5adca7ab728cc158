"""``python -m tasuki.testing.mutants module:Suite …``: run all mutants against each suite's driver or store."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from tasuki.testing.conformance import DriverConformance
from tasuki.testing.conformance.stores import StoreConformance
from tasuki.testing.mutants import MUTANTS, STORE_MUTANTS, report
from tasuki.testing.mutants.run import MISSED


def suite_at(path: str) -> type[DriverConformance] | type[StoreConformance]:
    """The suite class at an import path such as ``my_tests:TestMine``. Raises SystemExit with the reason."""
    module, _, name = path.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SystemExit(
            f"cannot import the suite {path!r}: {error}; give module:Class, such as my_tests:TestMine"
        ) from error
    if not (isinstance(found, type) and issubclass(found, DriverConformance | StoreConformance)):
        raise SystemExit(
            f"{path!r} is no DriverConformance or StoreConformance; "
            "give the class that runs the suite against your driver or its store"
        )
    return found


def main(paths: Sequence[str]) -> int:
    """Print a line for each mutant of each suite; returns 1 if one was missed, else 0."""
    if not paths:
        raise SystemExit("name a suite: python -m tasuki.testing.mutants my_tests:TestMine")
    missed = False
    for suite in [suite_at(path) for path in paths]:
        for line in report(suite, STORE_MUTANTS if issubclass(suite, StoreConformance) else MUTANTS):
            print(f"{suite.__name__}: {line}", flush=True)
            missed |= line.startswith(MISSED)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
