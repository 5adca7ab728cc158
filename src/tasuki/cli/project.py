"""The project that a command works with: loading it, and finding queues and functions in it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tasuki.cli.exits import CONFIG, CommandError
from tasuki.errors import ConfigError, ProjectError, TasukiError, UnsupportedError
from tasuki.registry.finding import Found, find_project

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.fields.types import DriverKind
    from tasuki.kinds.check.project import Project


_OS = ("<frozen os>", "os.py")
"""The module of ``os.environ``, as a traceback names it."""


@dataclass(frozen=True)
class Target:
    """What the user calls the project (None: the one that is found), and the overrides for it."""

    given: str | None = None
    overrides: tuple[str, ...] = ()

    @cached_property
    def found(self) -> Found:
        """See :func:`tasuki.registry.finding.find_project`. Raises ConfigError."""
        return find_project(self.given)

    @property
    def words(self) -> list[str]:
        """How another command line of this process names the same project."""
        return [] if self.given is None else ["--", self.given]

    def load(self) -> App:
        """The app. Raises CommandError (configuration) when it cannot be imported; the check comes later."""
        from tasuki.app import App

        name, by = self.found.target, f" (of {self.found.source})" if self.found.source else ""
        _extend_path(self.found.folder)
        try:
            _check_module(self.found)
            app = App.load(name, overrides=self.overrides)
            app.sync.close()  # the module, or the program that calls this command, may have published
            return app
        except (ProjectError, ConfigError, CommandError):
            raise
        except TasukiError as error:
            raise CommandError(f"{error}{by}", code=CONFIG) from error
        except (Exception, SystemExit) as error:
            raise CommandError(f"cannot load {name!r}{by}: {place_of(error)}", code=CONFIG) from error


def _extend_path(folder: Path) -> None:
    """Make the user's modules importable, after all others: none of them hides one of the standard library."""
    for path in dict.fromkeys((str(folder.resolve()), os.getcwd())):
        if path not in sys.path:
            sys.path.append(path)


def _check_module(found: Found) -> None:
    """Refuse a file whose name is another module's. Raises CommandError."""
    module = found.target.partition(":")[0]
    if found.file is None or (spec := find_spec(module)) is None or spec.origin is None:
        return
    if not os.path.exists(spec.origin) or not os.path.samefile(spec.origin, found.file):
        problem = f"{found.file}: another module has the name {module!r} ({spec.origin}); rename the file"
        raise CommandError(problem, code=CONFIG)


def place_of(error: BaseException) -> str:
    """``Type: text (file:line)``, with the innermost line of the user's own code; for errors that are not ours."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    theirs = [frame for frame in frames if not frame.filename.startswith((ours, "<frozen", sys.base_prefix + "/lib/"))]
    where = f" ({theirs[-1].filename}:{theirs[-1].lineno})" if theirs else ""
    text = str(error)
    if isinstance(error, KeyError) and frames and os.path.basename(frames[-1].filename) in _OS:
        return f"the variable {text} is not set; set it in the environment (no .env file is read){where}"
    return f"{type(error).__name__}{f': {text}' if text else ''}{where}"


def find_id(name: str, known: Iterable[str], what: str) -> str:
    """The full id of what a user calls by id, or by its name alone where that is the only one of it.

    Raises:
        CommandError: there is none, or several.
    """
    from tasuki.registry.entry import find_named

    ids = list(known)
    try:
        return find_named(name, ids, what)
    except ConfigError as error:
        raise CommandError(f"{error}{'' if ids else ': name another one with -p'}") from error


def find_queue(project: Project, name: str) -> str:
    """The id of a queue that this process can look into.

    Raises:
        CommandError: there is none, several, or it lives in the memory of another process.
    """
    from tasuki.kinds.entries.queue import QueueConfig

    id = find_id(name, project.of(QueueConfig), "queue")
    refuse_private(project, id)
    return id


def refuse_private(project: Project, id: str) -> None:
    """Raise CommandError if a queue lives in the memory of another process."""
    if not is_shared(project.driver_of(id)):
        raise CommandError(
            f"queue {id!r} is on {project.driver_of(id).name}: it lives in the memory of the process that runs it, and "
            f"no other can reach it; {durable_hint()}"
        )


def refuse_all_private(project: Project) -> None:
    """Raise CommandError if all queues live in the memory of another process, so that nothing can be done there."""
    from tasuki.kinds.entries.queue import QueueConfig

    ids = list(project.of(QueueConfig))
    if ids and not any(is_shared(project.driver_of(id)) for id in ids):
        refuse_private(project, ids[0])


def is_shared(kind: DriverKind) -> bool:
    """Whether several processes can open the same queues. Raises CommandError when its class cannot be imported."""
    from tasuki.kinds.kind import driver_class

    try:
        return driver_class(kind).capabilities.multi_process
    except UnsupportedError as error:
        raise CommandError(str(error)) from error


def durable_hint() -> str:
    """Which drivers to use where one process is not enough."""
    from tasuki.fields.types import DRIVER_PREFIX
    from tasuki.kinds.kind import all_capabilities

    shared = [name for name, capabilities in all_capabilities().items() if capabilities.multi_process]
    return f"use a durable driver: {', '.join(DRIVER_PREFIX + name for name in shared)}"
