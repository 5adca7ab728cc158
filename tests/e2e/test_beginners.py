"""Beginners' mistakes: each is answered with what happened, where, and what to do; none is silent, and no command of
ours shows its own traceback code.

The rows stand in ``beginners``, by where the mistake is made.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.beginners.commands import COMMANDS
from tests.e2e.beginners.declarations import DECLARATIONS
from tests.e2e.beginners.mistake import SOURCE, Mistake
from tests.e2e.beginners.programs import PROGRAMS
from tests.e2e.beginners.yaml_projects import YAML_PROJECTS

MOST_FRAMES = 2
"""Of ours in the traceback of a program: a method, and the one of the App that it calls."""
MISTAKES = [*PROGRAMS, *DECLARATIONS, *COMMANDS, *YAML_PROJECTS]


@pytest.mark.e2e
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what)
def test_a_mistake_is_answered(mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASUKI_PROJECT", raising=False)
    for name, value in mistake.environ.items():
        monkeypatch.setenv(name, value)
    code, output = mistake.answer(tmp_path)
    for part in mistake.says:
        assert part in output, output
    assert code == mistake.code, output
    ours = re.findall(rf'File \\?"{re.escape(str(SOURCE))}', output)
    if mistake.command.startswith("tasuki"):
        assert ours == [], output
    elif "Traceback" in output:  # Python's, of the program: it ends with the function that was called, and the answer
        assert mistake.says[0] in output.splitlines()[-1], output
        assert len(ours) <= MOST_FRAMES, output
        assert "direct cause" not in output, output  # one mistake is one error


def test_there_are_enough() -> None:
    assert len({mistake.what for mistake in MISTAKES}) == len(MISTAKES) >= 110
