"""Hold an SBOM (CycloneDX, JSON) to the pinned requirements, and write it without addresses.

.venv/bin/python scripts/sbom.py SBOM REQUIREMENTS OUTPUT

Offline. Exits with 1, and a line for each problem: a package is not pinned by hash in the version listed, or a pinned
one is not listed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROJECTS = ("tasuki", "tasuki-desk", "tasuki-driverkit")
_PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?P<marker>[^\n\\]*)(?P<hashes>(?:\\\n\s+--hash=\S+\s*)*)", re.M
)


def key(name: str) -> str:
    """A package's name as all its spellings have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(requirements: str) -> dict[str, tuple[str, bool]]:
    """Name → version, and whether it is needed everywhere; only what has hashes.

    A package that differs between versions of Python has its versions with `` or `` between.
    """
    found: dict[str, tuple[str, bool]] = {}
    for pin in _PIN.finditer(requirements):
        if pin["hashes"]:
            name = key(pin["name"])
            version = f"{found[name][0]} or {pin['version']}" if name in found else pin["version"]
            found[name] = version, ";" not in pin["marker"]
    return found


def problems(bom: Mapping[str, Any], pins: Mapping[str, tuple[str, bool]]) -> list[str]:
    """One line for each package that differs from its pin."""
    listed = {key(part["name"]): part["version"] for part in bom["components"] if key(part["name"]) not in PROJECTS}
    strange = [
        f"{name} {version}: not pinned by hash" + (f", but {pins[name][0]}" if name in pins else "")
        for name, version in listed.items()
        if name not in pins or version not in pins[name][0].split(" or ")
    ]
    return strange + [
        f"{name} {version}: pinned, and not listed"
        for name, (version, is_everywhere) in pins.items()
        if is_everywhere and name not in listed
    ]


def without_addresses(part: Any) -> Any:
    """The same without references to pages and registries: name, version and purl identify a package."""
    if isinstance(part, dict):
        return {name: without_addresses(value) for name, value in part.items() if name != "externalReferences"}
    return [without_addresses(value) for value in part] if isinstance(part, list) else part


def main(bom_path: str, requirements_path: str, output_path: str) -> int:
    """Check one file, and write it."""
    bom = json.loads(Path(bom_path).read_text())
    pins = pinned(Path(requirements_path).read_text())
    found = problems(bom, pins)
    for problem in found:
        print(problem, file=sys.stderr)
    if not found:
        Path(output_path).write_text(json.dumps(without_addresses(bom), indent=1, sort_keys=True) + "\n")
        print(f"{output_path}: {len(bom['components'])} packages, all pinned by hash")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
