"""How another process loads the same app."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from tasuki.errors import LifecycleError

if TYPE_CHECKING:
    from tasuki.app.runtime import Runtime
    from tasuki.app.source import Source


class Loading(NamedTuple):
    """What to load, as ``App.load`` takes it; ``environ`` is None for the process environment."""

    target: str
    overrides: list[str]
    environ: dict[str, str] | None
    path: list[str]
    """Where modules are found."""


def loading_of(runtime: Runtime) -> Loading:
    """How to load the app.

    Raises:
        LifecycleError: it is neither in a module nor a folder, so no other process can find it.
    """
    source = runtime.source
    environ = None if source.environ is None else dict(source.environ)
    path = [os.path.abspath(each) for each in sys.path]
    target = _name_of(source)
    if target is None and source.target is not None and not source.declared.entries:
        target = str(source.target.resolve())
    if target is None:
        raise LifecycleError(
            "a dry run loads the app in its own process, and this one is made within a function: make it at the "
            "top level of a module (app = App(…))"
        )
    return Loading(target, list(runtime.overrides), environ, path)


def _name_of(source: Source) -> str | None:
    """``module:name`` of a module's variable that is the app of these entries; None: there is none.

    The desk reads through a copy of an app, which has its entries.
    """
    for name, module in list(sys.modules.items()):
        found = next((key for key, value in _apps(module) if vars(value)["_runtime"].source is source), None)
        if found is not None and (importable := _importable(name, module)):
            return f"{importable}:{found}"
    return None


def _apps(module: object) -> list[tuple[str, Any]]:
    values = vars(module).copy() if isinstance(module, ModuleType) else {}
    return [(name, value) for name, value in values.items() if _is_app(type(value)) and name.isidentifier()]


def _is_app(kind: type) -> bool:
    """Whether objects of a class are apps; by its name, as the class itself imports this module."""
    return any(base.__name__ == "App" and base.__module__ == "tasuki.app.app" for base in kind.__mro__)


def _importable(name: str, module: ModuleType) -> str:
    """The name by which another process imports a module; a script has the name of its file."""
    if name != "__main__":
        return name
    spec, file = module.__spec__, getattr(module, "__file__", None)
    if spec is not None and spec.name != "__main__":
        return spec.name
    return "" if file is None else os.path.splitext(os.path.basename(file))[0]
