"""A reader who works through a page: each block in turn, in one folder."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from tests.support.pages.blocks import Block, Command, commands_of
from tests.support.pages.output import pattern_of
from tests.support.pages.terminal import Terminal

_ADDRESS = re.compile(r"redis://localhost(?::\d+)?")
_FILES = ("python", "toml", "yaml", "lua", "json", "sh")


class Session:
    """Runs blocks; what earlier blocks made is there for later ones.

    A block whose first line names a file writes it; Python without a name is run as a program. A console runs its
    commands and holds their output to the page; in a ``terminal`` the last one goes on, and a ``text`` block of the
    same terminal is the output that comes next. ``^C`` in such output interrupts it.
    """

    def __init__(self, folder: Path, brokers: Mapping[str, Callable[[], str]] | None = None) -> None:
        self._start = self.folder = folder
        self.skipped: list[Block] = []
        self._brokers = brokers or {}
        self._terminals: dict[str, Terminal] = {}
        self._exported: dict[str, str] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for terminal in self._terminals.values():
            terminal.kill()

    def run(self, block: Block) -> None:
        """Run one block. Raises AssertionError, with the place in the page, if the page is not right."""
        if "folder" in block.options:
            self.folder = self._start / block.options["folder"]
            self.folder.mkdir()
        try:
            if "skip" in block.options:
                self.skipped.append(block)
            elif block.language == "console":
                self._console(block)
            elif name := block.options.get("terminal"):
                self._follow(self._terminals[name], block.text)
            elif block.language in _FILES and block.file:
                self._write(block)
            elif block.language == "python":
                script = self.folder / f"block_{block.line}.py"
                script.write_text(block.text, "utf-8")
                self._command(Command(f"python {script.name}", ""), block)
        except AssertionError as error:
            raise AssertionError(f"{block.name}: {error}") from error

    def _write(self, block: Block) -> None:
        path = self.folder / str(block.file)
        if "shown" in block.options:
            assert path.read_text("utf-8") == block.content, f"{block.file} is another one:\n{path.read_text('utf-8')}"
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")

    def _console(self, block: Block) -> None:
        commands = commands_of(block)
        stays = block.options.get("terminal")
        for command in commands[: -1 if stays else None]:
            self._command(command, block)
        if stays:
            if before := self._terminals.pop(stays, None):
                before.kill()
            self._terminals[stays] = Terminal(self._line(commands[-1], block), self.folder, self._environ())
            self._follow(self._terminals[stays], commands[-1].output)

    def _command(self, command: Command, block: Block) -> None:
        line = self._line(command, block)
        if entered := re.fullmatch(r"cd ([\w./-]+)(?:\s+#.*)?", line):
            self.folder = (self.folder / entered[1]).resolve(strict=True)
            return
        if exported := re.fullmatch(r"export (\w+)=(\S+)(?:\s+#.*)?", line):
            self._exported[exported[1]] = exported[2]
            return
        with Terminal(line, self.folder, self._environ()) as terminal:
            code = terminal.end()
            printed = terminal.seen
        assert (code != 0) == ("fails" in block.options), f"{line}: exit code {code}\n{printed}"
        expected = pattern_of(command.output) if command.output else None
        lines = printed.strip("\n")
        assert expected is None or expected.fullmatch(f"{lines}\n"), (
            f"{line} prints:\n{printed}\nand the page shows:\n{command.output}"
        )

    def _follow(self, terminal: Terminal, shown: str) -> None:
        for index, part in enumerate(re.split(r"^\^C\n?", shown, flags=re.MULTILINE)):
            if index:
                terminal.interrupt()
            if part.strip():
                terminal.wait_for(part)
            if index:
                terminal.end()

    def _line(self, command: Command, block: Block) -> str:
        """The command; in place of the usual address of a broker, the one of the tests."""
        broker = block.options.get("broker")
        return _ADDRESS.sub(self._brokers[broker](), command.line) if broker else command.line

    def _environ(self) -> dict[str, str]:
        return {**environ(), **self._exported}


def environ() -> dict[str, str]:
    """The environment of a reader: no color, no settings of the tests around it, and this Python first.

    Coverage is not measured either: the commands have their own tests, and these take long enough.
    """
    not_theirs = ("PYTEST", "COVERAGE", "TASUKI", "QUEUE_", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(not_theirs)}
    return {
        **kept,
        "NO_COLOR": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "PYTEST_ADDOPTS": "-p no:randomly -p no:cacheprovider",
        "TERM": "dumb",
    }
