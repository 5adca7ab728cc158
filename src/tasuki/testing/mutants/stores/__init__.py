"""Mutants of stores, to see that the conformance suite of stores notices each."""

from tasuki.testing.mutants.stores import entries, limits, several, watches
from tasuki.testing.mutants.stores.mutant import StoreMutant, StoresBroken, UnbrokenStore

STORE_MUTANTS: tuple[type[StoreMutant], ...] = tuple(
    found
    for topic in (entries, several, watches, limits)
    for found in vars(topic).values()
    if isinstance(found, type) and issubclass(found, StoreMutant) and found is not StoreMutant
)

__all__ = ["STORE_MUTANTS", "StoreMutant", "StoresBroken", "UnbrokenStore"]
