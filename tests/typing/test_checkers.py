"""What must type-check does, and each planted mistake is reported, by mypy and by pyright."""

from __future__ import annotations

import pytest

from tests.typing import right
from tests.typing.checkers import ROOT, mypy, pyright

RIGHT, MISTAKES = (f"tests/typing/{name}.py" for name in ("right", "mistakes"))


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_reports_each_mistake_and_nothing_else(checker: object) -> None:
    lines = (ROOT / MISTAKES).read_text().splitlines()
    planted = {(MISTAKES, number) for number, line in enumerate(lines, 1) if "# mistake: " in line}
    assert len(planted) >= 12
    assert callable(checker)
    assert checker(RIGHT, MISTAKES) == planted


def test_the_right_program_is_good_when_it_is_checked_too() -> None:
    assert {"shop:mails", "shop:mails.dead", "shop:send.consumer"} <= right.app.check().configs.keys()
