"""Where the entries of an app come from: a folder or file of YAML, declarations in code, or both."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasuki.app.declare import DRIVER, SCHEMES, Declarations, DeclaredTasks, driver_of_url
from tasuki.app.handle import QueueHandle, id_of
from tasuki.drivers import DriverEntry
from tasuki.errors import InvalidEntryError, TasukiError, UnknownKindError
from tasuki.registry.entry import did_you_mean
from tasuki.system.caller import caller

# The modules that read a project are imported when needed, so that declaring stays quick.
if TYPE_CHECKING:
    from tasuki.registry.loader import Loaded

_TARGET = "a target is a folder, or package.module:app"


class Source:
    """One app's entries, to be declared and read.

    Args:
        namespace: of the entries declared in code.
        driver: of the queues that name none; its URL, or its entry, which is declared at once.
        root: where relative paths start, if ``target`` is None.
        environ: where placeholders look; None: the process environment.

    Raises:
        TypeError: ``driver`` is neither.
    """

    def __init__(
        self, *, namespace: str, driver: str | DriverEntry, root: Path, environ: Mapping[str, str] | None
    ) -> None:
        self.declared = Declarations(namespace)
        self.tasks = DeclaredTasks(self.declared)
        self.root = root
        self.target: Path | None = None
        """The folder or file; None: everything is declared in code."""
        self._url = driver if isinstance(driver, str) else ""
        self._place = caller()
        if self._url:
            driver_of_url(self._url)  # a mistake in it is reported here, where it was written
        if isinstance(driver, DriverEntry):
            self.declared.add_driver(DRIVER, driver)
        elif not isinstance(driver, str):
            from tasuki.registry.entry import describe  # not the value itself, which may hold a password

            hint = 'give it a URL, or a driver such as tasuki.drivers.Redis("redis://…")'
            raise TypeError(f"App(…) cannot take {describe(driver)}: {hint}")
        self.environ = environ
        """Where placeholders look; None: in the process environment."""

    def queue(self, name: str, fields: Mapping[str, Any], body: Any) -> str:
        """Declare a queue, unless there are no fields and it may be declared elsewhere; returns its id.

        Raises:
            InvalidEntryError: ``body`` is not None, and the queue has another body type already.
        """
        id = self.declared.id_of(id_of(name))
        if body is not None:
            self.declared.add_body(id, body)
        if fields or (self.target is None and self.declared.get(id) is None):
            self.declared.add_queue(id, {key: _id_of_handle(value) for key, value in fields.items()}, self._url)
        return id

    def load(self, overrides: Sequence[str]) -> Loaded:
        """Read all declarations, with the problems that reading finds."""
        from tasuki.registry.entry import Registry
        from tasuki.registry.loader import assemble, load

        declared = self.declared.entries
        self._check_driver()
        if self.target is not None:
            loaded = load(self.target, declared=declared, overrides=overrides, environ=self.environ)
        else:
            self.declared.add_dead_letters()
            loaded = assemble(declared, Registry(root=self.root), overrides=overrides, environ=self.environ)
        entries = self.declared.with_bodies(loaded.registry)
        return replace(loaded, registry=replace(loaded.registry, entries=entries))

    def _check_driver(self) -> None:
        """Raise InvalidEntryError: the URL names no driver; also where no queue is on it, whose entry would say so."""
        if not self._url or self.declared.get(self.declared.id_of(DRIVER)) is not None:
            return
        from tasuki.kinds.kind import find_kind

        kind, _ = driver_of_url(self._url)
        try:
            find_kind(kind)
        except UnknownKindError:
            scheme = self._url.partition("://")[0]
            hint = did_you_mean(scheme, SCHEMES) or f"there are: {', '.join(f'{each}://' for each in SCHEMES)}"
            raise InvalidEntryError(
                f"no driver has URLs that begin with {scheme}://", position=self._place, hint=hint
            ) from None


def _id_of_handle(value: Any) -> Any:
    """The id where a QueueHandle was given, also within a mapping (``dead_letter={"queue": handle}``)."""
    if isinstance(value, Mapping):
        return {key: _id_of_handle(inner) for key, inner in value.items()}
    return value.id if isinstance(value, QueueHandle) else value


def import_target(target: str, kind: type) -> Any:
    """The object behind ``package.module:name``; an error shows the module's objects of this ``kind``.

    Raises:
        TasukiError: there is no such module or no such name in it.
        Exception: any error of the module itself.
    """
    module_name, _, name = target.partition(":")
    if not module_name:
        raise TasukiError(f"cannot load {target!r}: it names no module; {_TARGET}")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        if "partially initialized module" in str(error):
            hint = "modules import each other: make the App in its own module, which imports none of them"
            raise TasukiError(f"cannot load {target!r}: {error}; {hint}") from error
        if not _is_part(error.name, module_name):
            raise  # the module is there, and imports something that is not
        raise TasukiError(f"cannot load {target!r}: {error}; {_TARGET}") from error
    if not hasattr(module, name):
        apps = [f"{module_name}:{known}" for known, value in vars(module).items() if isinstance(value, kind)]
        hint = f"did you mean {' or '.join(apps)}?" if apps else f"write {name or 'app'} = App() there"
        raise TasukiError(f"cannot load {target!r}: module {module_name!r} has no attribute {name!r}; {hint}")
    return getattr(module, name)


def hint_for(made: object, target: str) -> str:
    """What to write where a target is a function, which may make the App; empty for anything else."""
    module, _, name = target.partition(":")
    return f"; write app = {name}() at the top level, and name {module}:app" if callable(made) else ""


def _is_part(missing: str | None, module: str) -> bool:
    return missing is None or module == missing or module.startswith(f"{missing}.")
