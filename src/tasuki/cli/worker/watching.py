"""Follow changes of source files: apply them in place where possible; a changed Python module restarts the process."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tasuki.app.lifecycle.running import reload
from tasuki.cli.project import Target
from tasuki.cli.worker.starting import keep_for_the_next

if TYPE_CHECKING:
    from tasuki.app import App

PAUSE = 0.3
"""Seconds between two checks."""

_SUFFIXES = (".yaml", ".yml", ".lua", ".py", ".env")
_SKIPPED = frozenset({"node_modules", "__pycache__", "site-packages"})
_HANDLER_MODULE = "_tasuki_"
"""How the names of modules behind ``source: file://x.py`` begin: a reload imports them again."""

_log = logging.getLogger("tasuki.reload")

Seen = dict[str, tuple[int, int]]
"""Path → time of the last change, in ns, and size."""


class Watcher:
    """Makes a process follow the changes of its project: at HUP, and if it ``run``s, as soon as a file changes.

    Made when the user's modules are imported.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._folder = target.found.folder.resolve()
        self._imported = {path: _state(path) for path in self._modules()}
        self.wants_restart = False
        """A change needs a new process, and this one drains for it."""

    async def hang_up(self, app: App) -> None:
        """Take the new code: an app in Python, and one whose modules have changed, in a new process."""
        stale = {name for path, name in self._modules().items() if _state(path) != self._imported.get(path)}
        await self._follow(app, stale, replaces=self._target.found.is_code or bool(stale))

    async def run(self, app: App) -> None:
        """Watch until cancelled."""
        seen = await asyncio.to_thread(self.look)
        while True:
            await asyncio.sleep(PAUSE)
            now = await asyncio.to_thread(self.look)
            if now == seen or not app.is_open:
                continue
            # An editor may write in several steps: wait until it is quiet.
            while now != (later := await self._later()):
                now = later
            changed = {path for path in seen.keys() | now.keys() if seen.get(path) != now.get(path)}
            seen = now
            stale = {name for path, name in self._modules().items() if path in changed}
            await self._follow(app, stale, replaces=bool(stale))

    async def _later(self) -> Seen:
        await asyncio.sleep(PAUSE / 3)
        return await asyncio.to_thread(self.look)

    def _modules(self) -> dict[str, str]:
        """The user's: of the project, or in the current folder."""
        return _modules((f"{self._folder}{os.sep}", os.getcwd() + os.sep))

    def look(self) -> Seen:
        """All source files under the project's folder, and the modules of the user that are imported."""
        paths = {*_source_files(self._folder), *self._modules()}
        return {path: state for path in paths if (state := _state(path))}

    async def _follow(self, app: App, stale: set[str], *, replaces: bool) -> None:
        """Reload here, or drain this process for a new one, if that could start."""
        if not replaces:
            await reload(app._runtime)
            return
        names = sorted(stale)
        if problem := await asyncio.to_thread(self._check, names):
            _log.error("change refused, the old version goes on: %s", "; ".join(problem.splitlines()))
            return
        what = f"{', '.join(names)} changed" if names else "reload"
        _log.info("%s: restarting; running handlers finish, then a new process takes the new code", what)
        self.wants_restart = True
        app.drain()

    def _check(self, modules: list[str]) -> str:
        """The error that a new process would find in the project and these modules; empty: there is none."""
        options = [f"--import={module}" for module in modules]
        options += [f"--override={override}" for override in self._target.overrides]
        arguments = [*tasuki(), "check", *options, *self._target.words]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
        return done.stderr.strip() if done.returncode else ""


def tasuki() -> list[str]:
    """How this process can start another of its kind."""
    package = Path(__file__).parents[3]
    # -P keeps modules in the current folder from hiding the standard library's, unless tasuki itself is found there.
    return [sys.executable, *([] if package == Path.cwd() else ["-P"]), "-m", "tasuki"]


def restart() -> None:
    """Start again in this process, with the same command line."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    keep_for_the_next()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command line


def _source_files(folder: Path) -> Iterator[str]:
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _is_skipped(path, name)]
        yield from (os.path.join(path, name) for name in names if name.endswith(_SUFFIXES))


def _is_skipped(path: str, name: str) -> bool:
    return name.startswith(".") or name in _SKIPPED or os.path.exists(os.path.join(path, name, "pyvenv.cfg"))


def _modules(folders: tuple[str, ...]) -> dict[str, str]:
    """File → name of the imported modules that are the user's: in one of the folders, and not installed."""
    found = {}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if not path or name.startswith(_HANDLER_MODULE) or "site-packages" in path:
            continue
        if path.startswith(folders) and not path.startswith((sys.prefix, sys.base_prefix)):
            found[path] = name
    return found


def _state(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
