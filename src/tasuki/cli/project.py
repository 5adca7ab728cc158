"""The project that a command works with: loading it, and finding queues and functions in it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasuki.cli.exits import CONFIG, CommandError
from tasuki.errors import ConfigError, ProjectError, QueueNotFoundError, TasukiError, UnsupportedError

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.fields.kinds import DriverKind
    from tasuki.kinds.check.project import Project


@dataclass(frozen=True, slots=True)
class Target:
    """What the user calls the project: a folder, a YAML file or ``package.module:app``; and the overrides for it."""

    name: str
    overrides: tuple[str, ...] = ()

    @property
    def is_code(self) -> bool:
        """Whether it is an app in a Python module."""
        return ":" in self.name and not Path(self.name).exists()

    @property
    def folder(self) -> Path:
        """The folder that its files are in; for an app in code the current one."""
        path = Path(self.name)
        return Path.cwd() if self.is_code else path if path.is_dir() else path.parent

    def load(self) -> App:
        """The app. Raises CommandError (configuration) when it cannot be imported; the check comes later."""
        from tasuki.app import App

        _extend_path(self.folder)
        try:
            return App.load(self.name, overrides=self.overrides)
        except (ProjectError, ConfigError):
            raise
        except TasukiError as error:
            raise CommandError(str(error), code=CONFIG) from error
        except (Exception, SystemExit) as error:
            raise CommandError(f"cannot load {self.name!r}: {place_of(error)}", code=CONFIG) from error


def _extend_path(folder: Path) -> None:
    """Make the user's modules importable, after all others: none of them hides one of the standard library."""
    for path in dict.fromkeys((os.getcwd(), str(folder.resolve()))):
        if path not in sys.path:
            sys.path.append(path)


def place_of(error: BaseException) -> str:
    """``Type: text (file:line)``, with the innermost line of the user's own code; for errors that are not ours."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    theirs = [frame for frame in frames if not frame.filename.startswith((ours, "<frozen", sys.base_prefix + "/lib/"))]
    where = f" ({theirs[-1].filename}:{theirs[-1].lineno})" if theirs else ""
    text = str(error)
    return f"{type(error).__name__}{f': {text}' if text else ''}{where}"


def find_id(name: str, known: Iterable[str], what: str) -> str:
    """The full id of what a user calls by id, or by its name alone where that is the only one of it.

    Raises:
        CommandError: there is none, or several.
    """
    from tasuki.registry.references import find_named

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
    if not is_shared(project.driver_of(id)):
        raise CommandError(
            f"queue {id!r} is on {project.driver_of(id).name}: it lives in the memory of the process that runs it, and "
            f"no other can reach it; {durable_hint()}"
        )
    return id


@contextmanager
def looking_at(id: str) -> Iterator[None]:
    """Add the remedy to the error about a queue that the broker does not have. Raises CommandError."""
    try:
        yield
    except QueueNotFoundError as error:
        raise CommandError(
            f"queue {id!r} does not exist at its broker: a worker makes it when it starts, or the first publish"
        ) from error


def is_shared(kind: DriverKind) -> bool:
    """Whether several processes can open the same queues. Raises CommandError when its class cannot be imported."""
    from tasuki.kinds.capabilities import driver_class

    try:
        return driver_class(kind).capabilities.multi_process
    except UnsupportedError as error:
        raise CommandError(str(error)) from error


def durable_hint() -> str:
    """Which drivers to use where one process is not enough."""
    from tasuki.fields.kinds import DRIVER_PREFIX
    from tasuki.kinds.capabilities import all_capabilities

    shared = [name for name, capabilities in all_capabilities().items() if capabilities.multi_process]
    return f"use a durable driver: {', '.join(DRIVER_PREFIX + name for name in shared)}"
