"""The attempts of ``tests/e2e/test_attacks.py`` again, in a pool of threads and in a process of the script's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.attacks.attack import Attack
from tests.e2e.attacks.judge import Run, attempts, cases, cheapest, judge

pytestmark = pytest.mark.fault


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with attempts() as ask:
        yield ask


@pytest.mark.parametrize("attack", cases())
def test_an_attack_costs_only_its_own_message_in_a_thread(attack: Attack, run: Run) -> None:
    judge(attack, cheapest(attack, run, "pool"))


@pytest.mark.parametrize("attack", cases(are_killed=True))
def test_an_attack_costs_only_its_own_message_in_a_process(attack: Attack, run: Run) -> None:
    judge(attack, cheapest(attack, run, "process"))
