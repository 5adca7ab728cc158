"""The tables of attempts in tests/e2e/attacks/README.md, between two markers."""

# Lines of the page are a little longer.
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.attacks.attack import Attack
from tests.e2e.attacks.bombs import BOMBS
from tests.e2e.attacks.escapes import ESCAPES
from tests.e2e.attacks.heavy import HEAVY

ROOT = Path(__file__).parents[3]
PAGE = Path(__file__).parent / "README.md"
BEGIN = "<!-- attacks: made by `python -m tests.e2e.attacks`, from tests/e2e/attacks -->"
END = "<!-- /attacks -->"

_INTRODUCTION = """# What was tried against the sandbox

A shared script is in a box that protects against mistakes; against malice use `isolation: process`. This page says what the
box holds, and what it does not.

Each attempt runs in its own process, in a script that may use 32 MiB, and 100 ms where only the time limit can end
it. Except where **open** is said: nothing comes out, the process lives, and then the same script handles an honest
message, and another script works beside it. It costs at most twice its limit and 0.5 s of processor time, a neighbour in the
same process is late by 0.2 s at most, and the process grows by no more than twice its memory and 8 MiB. All of them are tried
with a `pool` as well, in threads of that process, and with `isolation: process`, in a child of it. There the open ones end
with their limit as well: the child is killed."""


def committed() -> str:
    """The section as it stands in the page; empty if it does not."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return rest.partition(END)[0]


def missing(section: str) -> list[str]:
    """Names of attempts that have no row."""
    return [attack.name for attack in (*ESCAPES, *BOMBS, *HEAVY) if f"\n| {attack.name} |" not in f"\n{section}"]


def write(attempt: Callable[[Attack], dict[str, Any]]) -> None:
    """Run all attempts and put the section in its place, or at the end of the page."""
    parts = [
        BEGIN, _INTRODUCTION,
        f"## {len(ESCAPES)} ways out", _rows(ESCAPES, attempt),
        f"## {len(BOMBS)} ways to use up a worker", _rows(BOMBS, attempt),
        f"## {len(HEAVY)} ways to make one step long", _rows(HEAVY, attempt),
        END,
    ]  # fmt: skip
    page = PAGE.read_text(encoding="utf-8")
    before, found, rest = page.partition(BEGIN)
    after = rest.partition(END)[2] if found else "\n"
    PAGE.write_text((before if found else page.rstrip() + "\n\n") + "\n\n".join(parts) + after, encoding="utf-8")


def _rows(attacks: Sequence[Attack], attempt: Callable[[Attack], dict[str, Any]]) -> str:
    head = ["| name | what it tries | what happens |", "|---|---|---|"]
    rows = [f"| {each.name} | {_cell(each.tries)} | {_outcome(each, attempt)} |" for each in attacks]
    return "\n".join([*head, *rows])


def _outcome(attack: Attack, attempt: Callable[[Attack], dict[str, Any]]) -> str:
    if attack.open:
        return f"**open**: {attack.open}"
    told = attempt(attack)
    if told["outcome"] == "done":
        return "nothing: no effect"
    if told["outcome"] != "error":
        return f"**{told['outcome']}**"
    text = told["error"].splitlines()[0]
    text = text if len(text) <= 110 else text[:110] + "…"
    return f"{told['limit']} limit: `{_cell(text)}`" if told["limit"] else f"`{_cell(text)}`"


def _cell(text: str) -> str:
    shown = "".join(character if character.isprintable() else "�" for character in text)
    return shown.replace("`", "'").replace("|", "\\|")
