"""Escapes and resource bombs in a worker's own process: none comes out, none takes the worker with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.attacks.attack import Attack
from tests.e2e.attacks.bombs import BOMBS
from tests.e2e.attacks.escapes import ESCAPES
from tests.e2e.attacks.heavy import HEAVY
from tests.e2e.attacks.judge import Run, attempts, cases, cheapest, judge
from tests.e2e.attacks.table import committed, missing

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with attempts() as ask:
        yield ask


@pytest.mark.parametrize("attack", cases())
def test_an_attack_costs_only_its_own_message(attack: Attack, run: Run) -> None:
    judge(attack, cheapest(attack, run, "shared"))


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len(ESCAPES) >= 60
    assert len(BOMBS) + len(HEAVY) >= 240
    names = [attack.name for attack in (*ESCAPES, *BOMBS, *HEAVY)]
    assert len(set(names)) == len(names)


def test_the_documentation_names_every_attempt() -> None:
    assert missing(committed()) == [], "run: python -m tests.e2e.attacks"


def test_an_attempt_without_a_row_is_missed() -> None:
    without = "\n".join(line for line in committed().splitlines() if not line.startswith("| io.popen |"))
    assert missing(without) == ["io.popen"]
