"""Run it on FOLDER, the application as it was published: ``python -m tests.paperless FOLDER PYTHON``."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from pathlib import Path

from tests.paperless import suite
from tests.paperless.kills import PUBLISHER_KILLS, WORKER_KILLS, publish_in_transaction, replace_by_parts, run_kills
from tests.paperless.port import PATCH, changed_lines, port
from tests.paperless.site import Site

MOST_LINES, FILES, FEWEST_TESTS = 40, 12, 444
DOCUMENTS, PARTS, SEED = 100, 3, 7


def main(original: Path, python: Path) -> int:
    """The exit code: 0 if all of it holds."""
    ported = original.with_name("tasuki")
    port(original, ported)
    problems = [*_lines(), *_tests(original, ported, python), *_kills(ported, python)]
    for problem in problems:
        print(f"FAILED: {problem}")
    return 1 if problems else 0


def _lines() -> list[str]:
    changed = changed_lines(PATCH.read_text())
    application, tests = sum(changed.of_application.values()), sum(changed.of_tests.values())
    for name, count in {**changed.of_application, **changed.of_tests}.items():
        print(f"  {count:2} {name}")
    print(f"port: {application} changed lines of the application, {tests} of its tests")
    return [] if application + tests <= MOST_LINES else [f"more than {MOST_LINES} lines"]


def _tests(original: Path, ported: Path, python: Path) -> list[str]:
    files = suite.files_of(original)
    celery, tasuki = (suite.run(folder, python, files) for folder in (original, ported))
    for name, ends in (("Celery", celery), ("Tasuki", tasuki)):
        print(f"tests on {name}: {len(files)} files, {len(ends)} tests, {dict(Counter(ends.values()))}")
    differing = sorted(name for name in celery.keys() | tasuki.keys() if celery.get(name) != tasuki.get(name))
    problems = [f"{name}: {celery.get(name)} on Celery, {tasuki.get(name)} on Tasuki" for name in differing]
    for name in sorted(name for name, end in celery.items() if end not in ("passed", "skipped")):
        print(f"  {celery[name]} on both: {name}")
    if (len(files), len(celery) >= FEWEST_TESTS) != (FILES, True):
        problems.append(f"{len(files)} files with {len(celery)} tests are not the known {FILES} and {FEWEST_TESTS}")
    return problems


def _kills(ported: Path, python: Path) -> list[str]:
    folder = ported.with_name("site")
    shutil.rmtree(folder, ignore_errors=True)
    site = Site(folder, ported / "src", python)
    site.manage("migrate")
    killed, committed = (publish_in_transaction(site, is_killed=each) for each in (True, False))
    print(f"a request that is killed before its commit leaves {killed[0]} rows and {killed[1]} messages")
    outcome = run_kills(site, DOCUMENTS, SEED)
    print(f"kill -9: {PUBLISHER_KILLS} of the publisher, {WORKER_KILLS} of the worker; {outcome}")
    for name, fate in outcome.missing.items():
        print(f"  {name}: {fate}")
    more = replace_by_parts(site, PARTS)
    print(f"a chord of {PARTS} documents that deletes one in the end: {more} more")
    problems = [] if more == PARTS - 1 else ["the chord"]
    problems += [] if (killed, committed) == ((0, 0), (1, 1)) else [f"in a transaction: {killed}, {committed}"]
    return problems if outcome.is_good else [*problems, "not every document is there exactly once, or accounted for"]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).absolute()))
