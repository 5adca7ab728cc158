"""Projects of a few entries in a temporary folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tasuki.errors import ProjectError
from tasuki.kinds.check.project import Project, check
from tasuki.registry.loader import load

Make = Callable[..., Project]
Problems = Callable[..., list[str]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Checks the entries given as YAML text (namespace ``app``, file ``p.yaml`` in the current folder)."""
    monkeypatch.chdir(tmp_path)

    def make(text: str, *, overrides: tuple[str, ...] = (), environ: Mapping[str, str] | None = None) -> Project:
        Path("p.yaml").write_text("namespace: app\nentries:\n" + text)
        return check(load(Path(), overrides=overrides, environ=environ or {}))

    return make


@pytest.fixture
def problems(project: Make) -> Problems:
    """The mistakes in the entries, one text each, without the file's name."""

    def find(text: str, **options: object) -> list[str]:
        with pytest.raises(ProjectError) as caught:
            project(text, **options)
        return [str(error).removeprefix("p.yaml:") for error in caught.value.errors]

    return find
