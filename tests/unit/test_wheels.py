"""Three wheels of one source tree: one version, and each file in one of them (ADR 73)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CORE: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PARTS = ("desk", "driverkit")


def part(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / "packaging" / name / "pyproject.toml").read_text("utf-8"))


def test_each_file_is_in_one_wheel() -> None:
    left_out = {path.removeprefix("/src/") for path in CORE["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"]}
    included = [part(name)["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"] for name in PARTS]
    assert all(source == f"../../src/{path}" for each in included for source, path in each.items())
    paths = [path for each in included for path in each.values()]
    assert left_out == set(paths)
    assert len(paths) == len(left_out)
    assert all((ROOT / "src" / path).exists() for path in paths)


@pytest.mark.parametrize("name", PARTS)
def test_all_have_one_version(name: str) -> None:
    project, version = part(name)["project"], CORE["project"]["version"]
    assert project["version"] == version
    assert project["dependencies"] == [f"tasuki=={version}"]
    assert project["requires-python"] == CORE["project"]["requires-python"]


@pytest.mark.parametrize("extra", ["desk", "mcp", "top"])
def test_an_extra_of_the_desk_brings_its_wheel(extra: str) -> None:
    assert f"tasuki-desk=={CORE['project']['version']}" in CORE["project"]["optional-dependencies"][extra]
