"""The blocks of a page: the text of its fences, and how their info strings say that it is run."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
OPTIONS = {"skip", "fails", "terminal", "shown", "broker", "folder"}

_BLOCK = re.compile(r"^```(\w*)(?: \{([^\n]*)\})?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"(?:#|--) ([\w./-]+\.\w+)\n")


class Block(NamedTuple):
    """One block: the number of its first line of text, its language, its text, and how it is run.

    Options, in braces after the language: ``skip="why"`` does not run it, ``fails`` expects an exit code other than 0,
    ``terminal=NAME`` runs it in a terminal that stays, ``shown`` expects its file to be there already, ``folder=NAME``
    begins a new folder, and ``broker=NAME`` puts the address of a test broker in place of the usual one.
    """

    page: Path
    line: int
    language: str
    text: str
    options: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page.name}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that the block is: a comment in its first line names it."""
        found = _NAME.match(self.text) if self.language != "console" else None
        return found[1] if found else None

    @property
    def content(self) -> str:
        """The text without the comment that names the file."""
        return self.text.partition("\n")[2] if self.file else self.text


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page, in order. Raises ValueError at an unknown option."""
    text = page.read_text("utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, found.start()) + 2,
            found[1],
            textwrap.dedent(found[3]),
            _options(found[2] or "", page),
        )
        for found in _BLOCK.finditer(text)
    ]


def _options(text: str, page: Path) -> dict[str, str]:
    options = {name: value for name, _, value in (word.partition("=") for word in shlex.split(text))}
    if unknown := options.keys() - OPTIONS:
        raise ValueError(f"{page}: unknown option {sorted(unknown)} of a block; there are {sorted(OPTIONS)}")
    if not options.get("skip", "why"):
        raise ValueError(f'{page}: a block that is skipped says why: skip="…"')
    return options


class Command(NamedTuple):
    """A line after ``$``, and the lines that it prints; none: nothing is expected of its output."""

    line: str
    output: str


def commands_of(block: Block) -> list[Command]:
    """The commands of a console. Raises ValueError for a text before the first one."""
    before, *parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    if before.strip():
        raise ValueError(f"{block.name}: a console begins with '$ '")
    return [Command(line.strip(), output.strip("\n")) for line, _, output in (part.partition("\n") for part in parts)]
