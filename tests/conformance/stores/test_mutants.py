"""The suite of stores notices each mutant: of the store of memory, and of one that is far away."""

from __future__ import annotations

import pytest

from tasuki.contracts.state.store import StoreFacts
from tasuki.testing.conformance.stores import StoreConformance
from tasuki.testing.mutants import STORE_MUTANTS, StoreMutant, UnbrokenStore, noticed
from tests.conformance.stores.test_far_memory import TestFarMemoryStore as Far
from tests.conformance.stores.test_memory import TestMemoryStore as Memory

CASES = sorted({name for mutant in STORE_MUTANTS for name in mutant.noticed_by})
SUITES = {"memory": Memory, "far": Far}


def test_each_mutant_names_cases_that_exist() -> None:
    assert len(STORE_MUTANTS) >= 24
    assert [name for mutant in STORE_MUTANTS for name in mutant.noticed_by if not hasattr(StoreConformance, name)] == []
    facts = StoreFacts()
    known = {"", "durable", *vars(type(facts))}
    assert all(mutant.noticed_by and mutant.needs in known for mutant in STORE_MUTANTS)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("case", CASES)
def test_a_store_passes_unbroken(case: str, suite: str) -> None:
    found, how = noticed(SUITES[suite], UnbrokenStore, [case])
    assert not found, how


@pytest.mark.parametrize("mutant", STORE_MUTANTS, ids=lambda mutant: mutant.__name__)
@pytest.mark.parametrize("suite", SUITES)
def test_the_suite_notices_it(suite: str, mutant: type[StoreMutant]) -> None:
    found, how = noticed(SUITES[suite], mutant)
    if how.startswith("not applicable") and (suite == "memory" or how.endswith("to an earlier state")):
        pytest.skip(how)
    assert found, how
