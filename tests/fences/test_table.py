"""The table of mutants is true: each place is there once, and its tests exist."""

from __future__ import annotations

import pytest

from tests.fences.mutant import SOURCE, Mutant
from tests.fences.tables import MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_has_its_place_and_its_tests(mutant: Mutant) -> None:
    text = (SOURCE / mutant.file).read_text(encoding="utf-8")
    compile(mutant.applied(text), mutant.file, "exec")
    for test in mutant.noticed_by:
        file, _, name = test.partition("::")
        path = SOURCE.parents[1] / "tests" / file
        assert path.exists(), f"no such file: {test}"
        source = path.read_text(encoding="utf-8") if path.is_file() else ""
        assert not name or f"def {name.partition('[')[0]}(" in source, f"no such test: {test}"


def test_each_has_a_name_of_its_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
