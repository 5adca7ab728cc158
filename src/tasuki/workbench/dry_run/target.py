"""How another process loads the same app."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from tasuki.errors import LifecycleError

if TYPE_CHECKING:
    from tasuki.app.app import App
    from tasuki.app.source import Source


class Loading(NamedTuple):
    """What to load, as ``App.load`` takes it; ``environ`` is None for the process environment."""

    target: str
    overrides: list[str]
    environ: dict[str, str] | None
    path: list[str]
    """Where modules are found."""


def loading_of(app: App, source: Source) -> Loading:
    """How to load the app.

    Raises:
        LifecycleError: it is no module's own, nor that of a folder, so no other process can find it.
    """
    environ = None if source.environ is None else dict(source.environ)
    path = [os.path.abspath(each) for each in sys.path]
    target = _name_of(app)
    if target is None and source.target is not None and not source.declared.entries:
        target = str(source.target.resolve())
    if target is None:
        raise LifecycleError(
            "a dry run loads the app in a process of its own, and this one is made within a function: make it at the "
            "top level of a module (app = App(…))"
        )
    return Loading(target, list(app.overrides), environ, path)


def _name_of(app: object) -> str | None:
    """``module:name`` of a module's variable that is this app; None: there is none."""
    for name, module in list(sys.modules.items()):
        found = next((key for key, value in _values(module).items() if value is app and key.isidentifier()), None)
        if found is not None and (importable := _importable(name, module)):
            return f"{importable}:{found}"
    return None


def _values(module: object) -> Mapping[str, Any]:
    return dict(vars(module)) if isinstance(module, ModuleType) else {}


def _importable(name: str, module: ModuleType) -> str:
    """The name by which another process imports a module; a script's is that of its file."""
    if name != "__main__":
        return name
    spec, file = module.__spec__, getattr(module, "__file__", None)
    if spec is not None and spec.name != "__main__":
        return spec.name
    return "" if file is None else os.path.splitext(os.path.basename(file))[0]
