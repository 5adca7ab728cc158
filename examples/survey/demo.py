"""Survey the source files of Python's standard library, or of a folder: python demo.py [FOLDER].

Each file's path is a message. A Python handler parses the file and publishes what it found to a second queue; a Lua
handler keeps that. Files that do not parse are tried again and become dead letters. First all messages are on disk
(SQLite); then it runs once more with the messages in memory, by one override, and must come to the same report.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import sys
import sysconfig
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tasuki import App, Confirmed

HERE = Path(__file__).resolve().parent
STATE = HERE / ".tasuki"
IN_MEMORY = "survey:driver:kind=queue.driver.memory"


def main() -> int:
    folder = Path(sys.argv[1]) if sys.argv[1:] else Path(sysconfig.get_path("stdlib"))
    logging.getLogger("tasuki").setLevel(logging.CRITICAL)  # the report says what failed
    shutil.rmtree(STATE, ignore_errors=True)
    paths = [*source_files(folder), broken_file()]

    print(f"Surveying {len(paths):,} source files below {folder}, with the messages on disk (SQLite).")
    report, seconds = asyncio.run(survey(paths, []))
    show(report, seconds)

    print(f"\nThe same with the messages in memory, by one override: -o {IN_MEMORY}")
    again, seconds = asyncio.run(survey(paths, [IN_MEMORY]))
    if again != report:
        print(f"The reports differ!\n{report}\n{again}")
        return 1
    print(f"The same report, to the last count, in {seconds:.1f} s.")
    print("\nThe dead letters are still on disk; look at them:")
    print(f"  {near(sys.executable)} -m tasuki peek survey:broken -p {near(HERE)}")
    return 0


def near(path: str | Path) -> str:
    """A path as one types it from here."""
    return min(str(path), os.path.relpath(path), key=len)


def source_files(folder: Path) -> list[str]:
    """Every Python file of the folder itself, without the packages that are installed below it."""
    installed = {"site-packages", "dist-packages"}
    return sorted(str(path.resolve()) for path in folder.rglob("*.py") if not installed.intersection(path.parts))


def broken_file() -> str:
    """A file that certainly does not parse."""
    path = STATE / "unfinished.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text("def unfinished(:\n", encoding="utf-8")
    return str(path)


async def survey(paths: list[str], overrides: list[str]) -> tuple[dict[str, Any], float]:
    """Send the paths through the project; the report, and how many seconds it took."""
    app = App.load(HERE, overrides=overrides)
    began = time.monotonic()
    async with app.worker():
        results = await app.queue("survey:files").publish_many(paths)
        assert all(isinstance(result, Confirmed) for result in results), results
        # A parser publishes before its message is settled, so what comes first is empty first.
        await until_empty(app, "survey:files", len(paths))
        await until_empty(app, "survey:found")
        seconds = time.monotonic() - began
        report = await app.call("survey:report", 5)
        report["dead letters"] = await dead_letters(app)
    return report, seconds


async def until_empty(app: App, name: str, total: int = 0) -> None:
    """Return when a queue holds nothing any more, delayed and running messages included."""
    queue = app.queue(name)
    while left := (await queue.info())["message_count"]:
        if total and sys.stderr.isatty():
            done = 40 * (total - left) // total
            print(f"\r{'█' * done}{'░' * (40 - done)} {total - left:,} of {total:,}", end="", file=sys.stderr)
        await asyncio.sleep(0.1)
    if total and sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)


async def dead_letters(app: App) -> dict[str, int]:
    """How many files failed with which error."""
    queue = app.queue("survey:broken")
    dead = await queue.peek((await queue.depth()).ready)
    # Many errors end in the place, as (name.py, line 3): without it, like errors count together.
    errors = Counter(re.sub(r" \([^()]*, line \d+\)$", "", str(message.headers["x_last_error"])) for message in dead)
    return dict(sorted(errors.items(), key=lambda item: (-item[1], item[0])))


def show(report: dict[str, Any], seconds: float) -> None:
    totals, dead = report["totals"], report["dead letters"]
    published = totals["files"] + sum(dead.values())
    messages = published + totals["files"]
    print(f"{published:,} paths parsed in Python, {totals['files']:,} findings kept in Lua: {messages:,} messages in")
    print(f"{seconds:.1f} s ({messages / seconds:,.0f} a second, parsing included).")
    print(f"\nFound {totals['lines']:,} lines, {totals['functions']:,} functions, {totals['classes']:,} classes.")
    columns = zip(report["modules"], report["imports"], strict=False)
    print(f"{'Largest modules':<18}{'lines':>9}    {'Most imported':<18}{'by files':>9}")
    for module, name in columns:
        print(f"  {module['name']:<16}{module['count']:>9,}      {name['name']:<16}{name['count']:>9,}")
    print(f"\n{sum(dead.values())} files failed three times and are dead letters now:")
    for error, count in dead.items():
        print(f"{count:>3}  {error}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
