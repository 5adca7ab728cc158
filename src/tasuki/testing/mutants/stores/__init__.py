"""Mutants of stores, to see that the conformance suite of stores notices each."""

from tasuki.testing.mutants.mutant import StoreMutant
from tasuki.testing.mutants.stores import entries, limits, watches

STORE_MUTANTS: tuple[type[StoreMutant], ...] = tuple(
    found
    for topic in (entries, watches, limits)
    for found in vars(topic).values()
    if isinstance(found, type) and issubclass(found, StoreMutant) and found is not StoreMutant
)
