"""Following changes of source files: what can be applied in place is, a changed Python module restarts the process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tasuki.cli.project import Target

if TYPE_CHECKING:
    from tasuki.app import App

PAUSE = 0.3
"""Seconds between two looks."""

_SUFFIXES = (".yaml", ".yml", ".lua", ".py", ".env")
_SKIPPED = frozenset({"node_modules", "__pycache__", "site-packages"})
_HANDLER_MODULE = "_tasuki_"
"""How the names of modules behind ``source: file://x.py`` begin: a reload imports them anew."""

_log = logging.getLogger("tasuki.reload")

Seen = dict[str, tuple[int, int]]
"""Path → time of the last change, in ns, and size."""


class Watcher:
    """Looks at the files of a project now and again, and makes its process follow."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._folder = target.folder.resolve()
        self.wants_restart = False
        """A change needs a new process, and this one drains for it."""

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
            await self._follow(changed)

    async def _later(self) -> Seen:
        await asyncio.sleep(PAUSE / 3)
        return await asyncio.to_thread(self.look)

    def look(self) -> Seen:
        """All source files under the project's folder, and the modules of the user that are imported."""
        paths = {*_source_files(self._folder), *_modules()}
        return {path: state for path in paths if (state := _state(path))}

    async def _follow(self, changed: set[str]) -> None:
        modules = _modules()
        stale = sorted({modules[path] for path in changed if path in modules})
        if not stale:
            os.kill(os.getpid(), signal.SIGHUP)  # the running app reloads, or refuses and says why
            return
        if problem := await asyncio.to_thread(self._check, stale):
            _log.error("change refused, the old version goes on:\n%s", problem)
            return
        _log.info("%s changed: restarting", ", ".join(stale))
        self.wants_restart = True
        os.kill(os.getpid(), signal.SIGTERM)

    def _check(self, modules: list[str]) -> str:
        """What a new process would say of the project and these modules; empty if it is well."""
        options = [f"--import={module}" for module in modules]
        options += [f"--override={override}" for override in self._target.overrides]
        arguments = [*tasuki(), "check", *options, "--", self._target.name]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
        return done.stderr.strip() if done.returncode else ""


def tasuki() -> list[str]:
    """How this process can start another of its kind."""
    package = Path(__file__).parents[2]
    # -P keeps modules in the current folder from hiding the standard library's, unless tasuki itself is found there.
    return [sys.executable, *([] if package == Path.cwd() else ["-P"]), "-m", "tasuki"]


def restart() -> None:
    """Begin anew in this process, with the same command line."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command line


def _source_files(folder: Path) -> Iterator[str]:
    for path, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name not in _SKIPPED
            and not os.path.exists(os.path.join(path, name, "pyvenv.cfg"))
        ]
        for name in names:
            if name.endswith(_SUFFIXES):
                yield os.path.join(path, name)


def _modules() -> dict[str, str]:
    """File → name of the imported modules that are the user's: under the current folder, and not installed."""
    here = os.getcwd() + os.sep
    found = {}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if not path or name.startswith(_HANDLER_MODULE) or "site-packages" in path:
            continue
        if path.startswith(here) and not path.startswith((sys.prefix, sys.base_prefix)):
            found[path] = name
    return found


def _state(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
