"""The command line called in this process, with what it printed."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasuki.cli import main
from tasuki.observe.log import LogHandler
from tests.support.cli_project import write_project


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


class CommandLine:
    """Runs commands in a folder, and restores what they change in the process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        self.folder = folder

    def __call__(self, *arguments: str, stdin: str | bytes = "") -> Done:
        """Run one command line."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        self._monkeypatch.chdir(self.folder)
        self._capsys.readouterr()
        try:
            code = main(arguments)
        finally:
            root = logging.getLogger()
            for handler in [each for each in root.handlers if isinstance(each, LogHandler)]:
                handler.close()
                root.removeHandler(handler)
        captured = self._capsys.readouterr()
        return Done(code, captured.out, captured.err)

    def json(self, *arguments: str) -> Any:
        """The document of a command with ``--json``; fails unless it exits with 0."""
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose handler notes each body."""
    return write_project(tmp_path, "def handle(body):\n    note(str(body))\n")


@pytest.fixture
def modules_go(tmp_path: Path) -> Iterator[None]:
    """Modules of the folder of the test go with it: another test may have a package of the same name."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def tasuki(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, project: Path, modules_go: None
) -> Iterator[CommandLine]:
    """The command line, in the folder of the project."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "path", list(sys.path))
    level = logging.getLogger().level
    yield CommandLine(capsys, monkeypatch, project)
    logging.getLogger().setLevel(level)
