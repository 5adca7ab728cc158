"""The list of packages beside the wheel: held to the pins, and without addresses."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "sbom.py"))
REQUIREMENTS = (
    "click==8.5.1 \\\n    --hash=sha256:8b \\\n    --hash=sha256:9b\n    # via tasuki\n"
    "uvloop==0.23.0 ; sys_platform != 'win32' \\\n    --hash=sha256:aa\n"
    "bare==1.0\n"
    "django==5.2 ; python_full_version < '3.12' \\\n    --hash=sha256:ab\n"
    "django==6.1 ; python_full_version >= '3.12' \\\n    --hash=sha256:ac\n"
)


def listing(**versions: str) -> dict[str, Any]:
    return {"components": [{"name": name, "version": version} for name, version in versions.items()]}


@pytest.mark.parametrize(
    ("bom", "expected"),
    [
        (listing(Click="8.5.1", uvloop="0.23.0", tasuki="0.1.0", tasuki_desk="0.1.0"), []),
        (listing(click="8.5.1"), []),  # uvloop is not needed everywhere
        (listing(click="8.5.1", django="6.1"), []),  # of one Python or the other
        (listing(click="8.5.1", django="5.1"), ["django 5.1: not pinned by hash, but 5.2 or 6.1"]),
        (listing(click="8.4"), ["click 8.4: not pinned by hash, but 8.5.1"]),
        (listing(click="8.5.1", bare="1.0"), ["bare 1.0: not pinned by hash"]),
        (listing(), ["click 8.5.1: pinned, and not listed"]),
    ],
)
def test_what_is_not_as_it_is_pinned_is_told(bom: dict[str, Any], expected: list[str]) -> None:
    assert SCRIPT["problems"](bom, SCRIPT["pinned"](REQUIREMENTS)) == expected


def test_every_package_of_the_wheel_and_its_extras_is_pinned_by_hash_in_the_version_that_is_tested() -> None:
    pins = {name: SCRIPT["pinned"]((ROOT / "requirements" / f"{name}.txt").read_text()) for name in ("all", "dev")}
    lines = re.findall(r"^[A-Za-z0-9._-]+==", (ROOT / "requirements" / "all.txt").read_text(), re.MULTILINE)
    assert sum(len(version.split(" or ")) for version, _ in pins["all"].values()) == len(lines) > len(pins["all"])
    assert {name: pins["dev"][name][0] for name in pins["all"]} == {name: pin[0] for name, pin in pins["all"].items()}


def test_a_list_that_is_right_is_written_without_addresses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bom = listing(click="8.5.1")
    bom["components"][0]["externalReferences"] = [{"url": "https://packages.example/click"}]
    bom["metadata"] = {"tools": {"components": [{"name": "t", "externalReferences": []}]}}
    paths = [tmp_path / name for name in ("in.json", "pins.txt", "out.json")]
    paths[0].write_text(json.dumps(bom))
    paths[1].write_text(REQUIREMENTS)
    assert SCRIPT["main"](*map(str, paths)) == 0
    assert "example" not in paths[2].read_text()
    assert json.loads(paths[2].read_text())["components"] == [{"name": "click", "version": "8.5.1"}]
    paths[0].write_text(json.dumps(listing(click="1")))
    paths[2].unlink()
    assert SCRIPT["main"](*map(str, paths)) == 1
    assert not paths[2].exists()
    assert "click 1: not pinned" in capsys.readouterr().err
