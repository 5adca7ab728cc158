"""Twenty mistakes in a whole application: mypy and pyright each report every one of them, and nothing without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.typing import shop
from tests.typing.checkers import ROOT, mypy, pyright

SHOP = "tests/typing/shop.py"

MISTAKES = {
    "a durability that there is not": ('durability="power"', 'durability="disk"'),
    "a misspelt option of a driver": ('synchronous="normal"', 'synchronus="normal"'),
    "a misspelt field within a field": ('"max_attempts": 3', '"max_atempts": 3'),
    "a duration of another type": ("lease=timedelta(minutes=1)", "lease=[60]"),
    "a number of a queue that is a text": ('"jitter": 0.2', '"jitter": "some"'),
    "a misspelt option of workers": ("prefetch=20", "prefetc=20"),
    "an order that there is not": ('order="weighted"', 'order="random"'),
    "a misspelt option of a hook": ("on.failed(queue=orders)", "on.failed(queu=orders)"),
    "middleware that hands on no context": ("handle(body, context)", "handle(body)"),
    "a number of a consumer that is a text": ("(concurrency=4, handler", '(concurrency="4", handler'),
    "a time that is a text": ("Snooze(at=HOLIDAY)", 'Snooze(at="tomorrow")'),
    "a misspelt option of a message": ("priority=9", "prority=9"),
    "a misspelt field of a batch": ('"size": 100', '"sise": 100'),
    "an error that is none": ("on=(OSError,)", "on=(OSError, 3)"),
    "a misspelt rule of a task": ('name="invoice"', 'nam="invoice"'),
    "a body of another type": ("publish(Order(1, address),", "publish(Receipt(1, 2.0),"),
    "an envelope with a body of another type": ("Envelope(body=Order(3, address)", "Envelope(body=address"),
    "a result that is used as another type": ("returns=Receipt", "returns=str"),
    "a misspelt argument of a task": ('subject="Thank you"', 'subjct="Thank you"'),
    "an argument of another type": ("mail.send(5)", 'mail.send("5")'),
}
"""Mistake → the right text, which the application has once, and the wrong one."""
ELSEWHERE = {"a result that is used as another type": ("mail.with_options", "publish(receipt)", "return receipt")}
"""Where a mistake shows: at the uses of a value, not at the place that gives it its type."""


def planted(folder: Path) -> dict[str, set[int]]:
    """One program for each mistake; its file → the lines of which one at least must be reported."""
    source = (ROOT / SHOP).read_text()
    found = {}
    for number, (name, (right, wrong)) in enumerate(MISTAKES.items(), 1):
        assert source.count(right) == 1, name
        file = folder / f"mistake_{number}.py"
        file.write_text(source.replace(right, wrong))
        lines = file.read_text().splitlines()
        texts = ELSEWHERE.get(name, (wrong,))
        found[str(file)] = {at for at, line in enumerate(lines, 1) if any(text in line for text in texts)}
    return found


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_each_mistake_is_reported_and_nothing_in_the_right_program(checker: object, tmp_path: Path) -> None:
    wanted = planted(tmp_path)
    assert len(wanted) == 20
    assert callable(checker)
    reported = checker(SHOP, *wanted)
    missed = [
        name
        for name, (file, lines) in zip(MISTAKES, wanted.items(), strict=True)
        if not {(file, line) for line in lines} & reported
    ]
    assert missed == []
    assert {file for file, _ in reported} == wanted.keys()


@pytest.mark.anyio
async def test_the_right_program_is_a_good_project_and_works() -> None:
    project = shop.app.check()
    assert {"shop:driver", "shop:files", "shop:jobs.task.mail", "shop:pool", "shop:timed"} <= project.configs.keys()
    published = shop.counter.published
    assert await shop.try_it() == 2
    assert shop.counter.published == published + 2
