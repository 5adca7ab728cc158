"""What a change of a source file leads to."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasuki.cli.project import Target
from tasuki.cli.worker import watching
from tasuki.cli.worker.watching import Watcher, restart
from tests.support.cli_project import write_project

pytestmark = pytest.mark.anyio


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(watching, "PAUSE", 0.02)
    return write_project(tmp_path, "def handle(): ...\n")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the watcher asks of the app."""
    done: list[str] = []

    async def reload(app: object) -> None:
        done.append("reload")

    monkeypatch.setattr(watching, "reload", reload)
    return done


def app_that_notes(asked: list[str]) -> Any:
    return SimpleNamespace(is_open=True, _runtime=None, drain=lambda: asked.append("drain"))


async def change(path: Path, text: str, done: Any, asked: list[str]) -> Watcher:
    """Watch, change a file, and wait until that had its effect."""
    watcher = Watcher(Target("."))
    looked = asyncio.Event()
    look, loop = watcher.look, asyncio.get_running_loop()

    def look_and_tell() -> watching.Seen:
        try:
            return look()
        finally:
            loop.call_soon_threadsafe(looked.set)

    watcher.look = look_and_tell  # type: ignore[method-assign]
    task = asyncio.create_task(watcher.run(app_that_notes(asked)))
    async with asyncio.timeout(30):
        await looked.wait()
        path.write_text(text)
        while not done():
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    return watcher


async def test_a_changed_handler_is_reloaded(project: Path, asked: list[str]) -> None:
    watcher = await change(project / "handlers.py", "def handle(): return 1\n", lambda: asked, asked)
    assert asked == ["reload"]
    assert not watcher.wants_restart


async def test_a_new_file_is_reloaded(project: Path, asked: list[str]) -> None:
    await change(project / "more.yaml", "version: '1.0'\n", lambda: asked, asked)
    assert asked == ["reload"]


def imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, path.stem, SimpleNamespace(__file__=str(path)))


async def test_a_changed_module_is_a_restart(project: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = project / "imported_module.py"
    path.write_text("WORD = 1\n")
    imported(path, monkeypatch)
    watcher = await change(path, "WORD = 'two'\n", lambda: asked, asked)
    assert asked == ["drain"]
    assert watcher.wants_restart


async def test_a_broken_module_is_refused(
    project: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = project / "broken_module.py"
    path.write_text("WORD = 1\n")
    imported(path, monkeypatch)
    with caplog.at_level(logging.ERROR, "tasuki.reload"):
        watcher = await change(path, "WORD = (\n", lambda: caplog.records, asked)
    assert asked == []
    assert not watcher.wants_restart
    assert "change refused" in caplog.text
    assert "broken_module" in caplog.text


async def test_hang_up_reloads_a_folder_in_place(project: Path, asked: list[str]) -> None:
    watcher = Watcher(Target("."))
    await watcher.hang_up(app_that_notes(asked))
    assert asked == ["reload"]
    assert not watcher.wants_restart


async def test_hang_up_with_a_changed_module_is_a_restart(
    project: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project / "imported_module.py"
    path.write_text("WORD = 1\n")
    imported(path, monkeypatch)
    watcher = Watcher(Target("."))
    path.write_text("WORD = 'two'\n")
    await watcher.hang_up(app_that_notes(asked))
    assert asked == ["drain"]
    assert watcher.wants_restart


def test_what_is_not_watched(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (".hidden/a.py", "node_modules/a.yaml", "env/a.py", "sub/a.txt", "sub/b.lua"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("x")
    (project / "env" / "pyvenv.cfg").write_text("")
    monkeypatch.setitem(sys.modules, "gone_module", SimpleNamespace(__file__=str(project / "gone.py")))
    monkeypatch.setitem(sys.modules, "_tasuki_x", SimpleNamespace(__file__=str(project / "sub/b.lua")))
    seen = {os.path.relpath(path, project) for path in Watcher(Target(".")).look()}
    assert seen == {"_index.yaml", "handlers.py", "sub/b.lua"}


def test_a_restart_has_the_same_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(os, "execv", lambda path, arguments: calls.append((path, arguments)))
    monkeypatch.setattr(watching, "keep_for_the_next", lambda: None)
    restart()
    assert calls == [(sys.executable, [sys.executable, *sys.orig_argv[1:]])]
