"""The contract's text: every clause is one that a verb names, and has a case of its number."""

from __future__ import annotations

import re

from tasuki.contracts import driver as contract
from tasuki.testing.conformance import DriverConformance

CLAUSES = {int(number) for number in re.findall(r"^ ?(\d+)\. ", contract.__doc__ or "", re.MULTILINE)}


def test_every_verb_names_its_clauses() -> None:
    named: set[int] = set()
    for thing in (contract.Driver, *vars(contract.Driver).values()):
        for numbers in re.findall(r"Clauses? ([0-9, and]+)", getattr(thing, "__doc__", None) or ""):
            named |= {int(number) for number in re.findall(r"\d+", numbers)}
    assert named == CLAUSES == set(range(1, max(CLAUSES) + 1))


def test_every_clause_has_a_case() -> None:
    found = {int(name[5:7]) for name in dir(DriverConformance) if re.match(r"test_\d\d_", name)}
    assert found == CLAUSES
