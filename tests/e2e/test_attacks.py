"""Escapes and resource bombs, each in a process of its own: none comes out, none takes the worker with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.attacks.attack import GOOD_ANSWER, MEMORY, Attack
from tests.e2e.attacks.bombs import BOMBS
from tests.e2e.attacks.escapes import ESCAPES
from tests.e2e.attacks.table import ROOT, committed, missing

pytestmark = pytest.mark.e2e

Run = Callable[..., dict[str, Any]]
MOST = 2 * MEMORY + 8 * 2**20
"""Bytes that the process may grow by, the last eight for the runtime of the neighbour and modules that are imported."""
GRACE = 0.8
"""Seconds of processor time beyond the limit of the script: a runtime is made, and the last step ends."""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Runs one attempt; the process behind it forks a fresh one for each."""
    command = [sys.executable, "-m", "tests.e2e.attacks.runner"]
    pipe = subprocess.PIPE
    # What a script costs is measured, and not what a tracer costs.
    environ = {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdin=pipe, stdout=pipe, text=True) as runner:
        assert runner.stdin is not None
        assert runner.stdout is not None

        def ask(attack: Attack, isolation: str) -> dict[str, Any]:
            print(f"{isolation}:{attack.name}", file=runner.stdin, flush=True)
            return dict(json.loads(runner.stdout.readline()))

        yield ask
        runner.stdin.close()


def _case(attack: Attack) -> Any:
    marks = [pytest.mark.xfail(reason=attack.open)] if attack.open else []
    return pytest.param(attack, id=attack.name, marks=marks)


@pytest.mark.parametrize("isolation", ["shared", "pool", "process"])
@pytest.mark.parametrize("attack", [_case(attack) for attack in (*ESCAPES, *BOMBS)])
def test_an_attack_costs_only_its_own_message(attack: Attack, isolation: str, run: Run) -> None:
    told = run(attack, isolation)
    assert told["outcome"] in ("done", "error"), told
    assert not told["escaped"], told
    if attack.told:
        assert told["outcome"] == "error", told
        assert attack.told in told["error"] or (told["limit"] and told["limit"] in attack.limits)
    else:
        assert told["outcome"] == "done" or told["limit"] in attack.limits, told
    assert told["limit"] in (attack.limits or ("",)), told
    if told["limit"] and attack.placed and not attack.whole:
        assert told["error"].startswith("script.lua:"), "a limit names script and line"
    assert not told["error"].startswith("host:"), "no error points into the host"
    assert len(told["error"]) < 10_000
    assert told["grown"] < MOST + len(attack.script())
    assert told["seconds"] < attack.seconds + GRACE
    assert told["late"] < attack.seconds + GRACE, "another consumer in the same process"
    assert told["other"] == GOOD_ANSWER, "another script in the same process"
    assert attack.whole or told["same"] == GOOD_ANSWER, "the same script, with an honest message"


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len(ESCAPES) >= 60
    assert len(BOMBS) >= 80
    names = [attack.name for attack in (*ESCAPES, *BOMBS)]
    assert len(set(names)) == len(names)


def test_the_documentation_names_every_attempt() -> None:
    assert missing(committed()) == [], "run: python -m tests.e2e.attacks"


def test_an_attempt_without_a_row_is_missed() -> None:
    without = "\n".join(line for line in committed().splitlines() if not line.startswith("| io.popen |"))
    assert missing(without) == ["io.popen"]
