"""The contract's text: every clause is one that a verb names, and has a case of its number."""

from __future__ import annotations

import inspect
import re

from tasuki.contracts import clauses
from tasuki.contracts import driver as contract
from tasuki.testing.conformance import DriverConformance

CLAUSES = {int(number) for number in re.findall(r"^ ?(\d+)\. ", clauses.__doc__ or "", re.MULTILINE)}


VERBS = [verb for _, verb in inspect.getmembers(contract.Driver, inspect.iscoroutinefunction)]
NUMBERS = re.compile(r"[Cc]lauses? ([\d, and]+)|\((\d+(?:,\s+\d+)*)\)")


def test_every_clause_is_named_by_a_verb() -> None:
    named: set[int] = set()
    for thing in (contract.Driver, contract.Driver.store, *VERBS):
        for numbers in NUMBERS.findall(thing.__doc__ or ""):
            named |= {int(number) for number in re.findall(r"\d+", " ".join(numbers))}
    assert named == CLAUSES == set(range(1, max(CLAUSES) + 1))


def test_every_verb_says_what_it_must_do() -> None:
    silent = [verb.__name__ for verb in VERBS if "Must: " not in (verb.__doc__ or "")]
    assert silent == ["publish_within"]  # no clause is about it alone


def test_every_clause_has_a_case() -> None:
    found = {int(name[5:7]) for name in dir(DriverConformance) if re.match(r"test_\d\d_", name)}
    assert found == CLAUSES
