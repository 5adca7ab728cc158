"""Judge: runs attempts, each in its own process, and says what must hold after each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.attacks.attack import GOOD_ANSWER, MEMORY, Attack
from tests.e2e.attacks.bombs import BOMBS
from tests.e2e.attacks.escapes import ESCAPES
from tests.e2e.attacks.heavy import HEAVY
from tests.e2e.attacks.table import ROOT
from tests.support.least import Least

Run = Callable[..., dict[str, Any]]
_MOST = 3 * MEMORY + 8 * 2**20
"""Bytes that the process may grow by. A text that grows leaves its earlier places behind, and the allocator of C keeps
them for a while: at most twice its length. The last eight MiB are for the runtime of the neighbour and modules that are
imported."""
_LATE = 0.2
"""Seconds of processor time that a neighbour waits at most. A script is loaded before its consumer starts."""


@contextmanager
def attempts() -> Iterator[Run]:
    """Runs one attempt; the process behind it forks a fresh one for each."""
    command = [sys.executable, "-m", "tests.e2e.attacks.runner"]
    pipe = subprocess.PIPE
    # What a script costs is measured, and not what a tracer costs.
    environ = {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdin=pipe, stdout=pipe, text=True) as runner:
        requests, answers = runner.stdin, runner.stdout
        assert requests is not None
        assert answers is not None

        def ask(attack: Attack, isolation: str) -> dict[str, Any]:
            print(f"{isolation}:{attack.name}", file=requests, flush=True)
            return dict(json.loads(answers.readline()))

        yield ask
        requests.close()


def cases(*, are_killed: bool = False) -> list[Any]:
    """All attempts, as parameters of a test; ``are_killed``: where a process ends what no limit does."""
    return [_case(attack, attack.open and not are_killed) for attack in (*ESCAPES, *BOMBS, *HEAVY)]


def _case(attack: Attack, is_open: object) -> Any:
    marks = [pytest.mark.xfail(reason=attack.open)] if is_open else []
    return pytest.param(attack, id=attack.name, marks=marks)


def cheapest(attack: Attack, run: Run, isolation: str) -> dict[str, Any]:
    """What becomes of an attempt, with the least that it has cost: other work on the machine makes a run dearer."""
    least = Least(seconds=attack.most, late=float("inf") if attack.whole else _LATE)
    while least.is_open:
        told = run(attack, isolation)
        if attack.open or "seconds" not in told:
            return told
        least.add(seconds=told["seconds"], late=told["late"])
    return told | least.costs


def judge(attack: Attack, told: dict[str, Any]) -> None:
    """An attack costs only its own message: raises AssertionError with the attack's report."""
    assert told["outcome"] in ("done", "error"), told
    assert not told["escaped"], told
    if attack.open and "process was killed" in told["error"]:
        assert told["outcome"] == "error", told
    elif attack.told:
        assert told["outcome"] == "error", told
        assert attack.told in told["error"] or (told["limit"] and told["limit"] in attack.limits), told
    else:
        assert told["outcome"] == "done" or told["limit"] in attack.limits, told
    assert told["limit"] in (attack.limits or ("",)) or "process was killed" in told["error"], told
    if told["limit"] and attack.placed and not attack.whole:
        assert told["error"].startswith("script.lua:"), f"a limit names script and line: {told}"
    assert not told["error"].startswith("host:"), f"no error points into the host: {told}"
    assert len(told["error"]) < 10_000, told
    assert told["grown"] < _MOST + len(attack.script()), told
    assert told["seconds"] < attack.most, told
    assert attack.whole or told["late"] < _LATE, f"another consumer in the same process: {told}"
    assert told["other"] == GOOD_ANSWER, f"another script in the same process: {told}"
    assert attack.whole or told["same"] == GOOD_ANSWER, f"the same script, with an honest message: {told}"
