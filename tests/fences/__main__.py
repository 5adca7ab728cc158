"""Run the tests of each mutant on a copy of the package without one check: ``python -m tests.fences [NAME…]``.

Exits with 1 if a mutant is not noticed, or if its tests fail without it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

from tests.fences.mutant import SOURCE, Mutant
from tests.fences.tables import MUTANTS

_ROOT = Path(__file__).parents[2]


def main(names: Sequence[str]) -> int:
    """Run the named mutants, or all; print each with its result."""
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    if unknown := set(names) - {mutant.name for mutant in chosen}:
        print(f"no such mutant: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    with TemporaryDirectory() as folder:
        packages = [_copied(Path(folder) / f"{number}" / "tasuki") for number in range(os.cpu_count() or 1)]
        if passes(packages[0], sorted({test for mutant in chosen for test in mutant.noticed_by})) != 0:
            print("the tests fail without any mutant", file=sys.stderr)
            return 1
        noticed = sum(_run_all(chosen, packages))
    print(f"{noticed} of {len(chosen)} noticed")
    return 1 if noticed < len(chosen) else 0


def _copied(package: Path) -> Path:
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def _run_all(mutants: Sequence[Mutant], packages: Sequence[Path]) -> Iterator[bool]:
    """Run them on these copies of the package, one at a time on each; whether each is noticed."""
    free: SimpleQueue[Path] = SimpleQueue()
    for package in packages:
        free.put(package)

    def run_one(mutant: Mutant) -> bool:
        package = free.get()
        try:
            return run(mutant, package)
        finally:
            free.put(package)

    with ThreadPoolExecutor(len(packages)) as pool:
        for mutant, is_noticed in zip(mutants, pool.map(run_one, mutants), strict=True):
            print(f"{'noticed' if is_noticed else 'MISSED '}  {mutant.name}", flush=True)
            yield is_noticed


def run(mutant: Mutant, package: Path) -> bool:
    """Whether a test notices."""
    file = package / mutant.file
    text = file.read_text(encoding="utf-8")
    file.write_text(mutant.applied(text), encoding="utf-8")
    try:
        return passes(package, mutant.noticed_by) == 1  # others say that no test ran
    finally:
        file.write_text(text, encoding="utf-8")


def passes(package: Path, tests: Sequence[str]) -> int:
    """What pytest returns for the tests on this copy of the package: 0 they pass, 1 one fails."""
    command = [sys.executable, "-m", "pytest", *(f"tests/{test}" for test in tests)]
    command += ["--exitfirst", "--quiet", "--numprocesses", "0", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
