"""How another process loads an app."""

from __future__ import annotations

import importlib.machinery
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tasuki import App
from tasuki.app.dry_run.run import loading_of
from tasuki.errors import LifecycleError


def test_an_app_of_a_module_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("some_shop")
    app = module.app = App("memory://", overrides=["app:a:b=c"])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "some_shop", module)
    found = loading_of(app._runtime)
    assert (found.target, found.overrides, found.environ) == ("some_shop:app", ["app:a:b=c"], None)
    assert all(map(Path.is_absolute, map(Path, found.path)))


@pytest.mark.parametrize(
    ("spec", "file", "target"),
    [
        (None, "/srv/shop.py", "shop:app"),
        (importlib.machinery.ModuleSpec("pkg.shop", None), "/srv/pkg/shop.py", "pkg.shop:app"),
        (None, None, None),
    ],
)
def test_an_app_of_a_script_has_the_name_of_its_file(
    spec: importlib.machinery.ModuleSpec | None,
    file: str | None,
    target: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = ModuleType("__main__")
    module.__spec__ = spec
    if file is not None:
        module.__file__ = file
    app = module.app = App("memory://")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", module)
    if target is not None:
        assert loading_of(app._runtime).target == target
        return
    with pytest.raises(LifecycleError, match="at the top level of a module"):
        loading_of(app._runtime)


def test_an_app_of_a_folder_is_that_folder_unless_code_adds_to_it(tmp_path: Path) -> None:
    app = App.load(tmp_path, environ={"A": "b"})
    found = loading_of(app._runtime)
    assert (found.target, found.environ) == (str(tmp_path), {"A": "b"})
    app.queue("more", driver="app:driver")
    with pytest.raises(LifecycleError, match="at the top level of a module"):
        loading_of(app._runtime)
