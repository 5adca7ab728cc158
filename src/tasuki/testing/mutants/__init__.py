"""Mutants: a driver or a store with one thing broken on purpose, to see that its conformance suite notices it.

``python -m tasuki.testing.mutants my_tests:TestMine`` runs all that apply to the driver of a suite, and prints a line
for each: the mutant, and the case that noticed it. It ends with 1 if a mutant was missed.
"""

from tasuki.testing.mutants import counting, limits, moving, publishing, queues, receiving, settling
from tasuki.testing.mutants.mutant import Mutant, StoreMutant, Unbroken, UnbrokenStore
from tasuki.testing.mutants.run import noticed, report
from tasuki.testing.mutants.stores import STORE_MUTANTS

MUTANTS: tuple[type[Mutant], ...] = tuple(
    found
    for topic in (publishing, receiving, settling, moving, counting, queues, limits)
    for found in vars(topic).values()
    if isinstance(found, type) and issubclass(found, Mutant) and found.noticed_by
)

__all__ = ["MUTANTS", "STORE_MUTANTS", "Mutant", "StoreMutant", "Unbroken", "UnbrokenStore", "noticed", "report"]
