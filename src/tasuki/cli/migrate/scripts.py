"""Commands that start workers: in Procfiles, shell scripts, Compose files and units."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tasuki.cli.migrate.home import Home
from tasuki.cli.migrate.project import SKIPPED, OldPlace

_FILES = re.compile(r"Procfile.*|Dockerfile.*|Makefile|.*\.(sh|ya?ml|service|conf|ini|toml)")
_WORDS = r"[-=\w., /:@%$]*"
_COMMAND = {
    "celery": re.compile(
        rf"(?:python3? -m )?\bcelery\s+(?P<words>{_WORDS}?"
        rf"\b(?P<verb>worker|beat|multi|flower|inspect|status|purge)\b{_WORDS})"
    ),
    "rq": re.compile(
        r"(?:python3? (?:-m |manage\.py ))?"
        rf"\b(?P<verb>rq worker|rqworker|rqscheduler|rq-dashboard)\b(?P<words>{_WORDS})"
    ),
}
_KNOWN = {
    "celery": {
        "-A",
        "--app",
        "-l",
        "--loglevel",
        "-c",
        "--concurrency",
        "-Q",
        "--queues",
        "-n",
        "--hostname",
        "-P",
        "--pool",
        "-E",
        "-B",
    },
    "rq": {"--url", "-u", "--with-scheduler", "--name", "-n", "--verbose", "-v", "--quiet", "-q", "--path", "-P"},
}
_ALONE = {"-E", "-B", "--with-scheduler", "--verbose", "-v", "--quiet", "-q"}
_INSTEAD = {
    "beat": "remove it: every worker fires schedules",
    "rqscheduler": "remove it: every worker delivers delayed messages",
    "flower": "tasuki desk",
    "rq-dashboard": "tasuki desk",
    "purge": "tasuki purge QUEUE",
    "inspect": "tasuki workers",
    "status": "tasuki workers",
    "multi": "tasuki run --processes 2, or a unit of systemd: tasuki deploy",
}


def read_scripts(library: str, home: Home, *, stays: bool) -> dict[str, tuple[str, str]]:
    """Path → the text before and after; a command that is not understood, or still needed, is listed."""
    project = home.project
    found: dict[str, tuple[str, str]] = {}
    for path in _scripts(project.root):
        try:
            before = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        shown, lines = path.relative_to(project.root).as_posix(), before.splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            match = None if line.lstrip().startswith("#") else _COMMAND[library].search(line)
            if match is None:
                continue
            new = None if stays else _command(match, library, home)
            write = _INSTEAD.get(match["verb"]) or (f"{home.command}, beside it" if stays else home.command)
            state = "by hand" if new is None else "rewritten"
            project.places.append(OldPlace(shown, number, match.start() + 1, state, match[0].strip(), write))  # type: ignore[arg-type]
            if new is not None:
                lines[number - 1] = line[: match.start()] + new + line[match.start() + len(match[0].rstrip()) :]
        if (after := "".join(lines)) != before:
            found[shown] = before, after
    return found


def _scripts(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(each for each in folders if each not in SKIPPED and not each.startswith("."))
        yield from (Path(folder, each) for each in sorted(files) if _FILES.fullmatch(each))


def _command(match: re.Match[str], library: str, home: Home) -> str | None:
    """The command of a worker; None: an option is not understood."""
    if match["verb"] not in ("worker", "rq worker", "rqworker"):
        return None
    words = [word for word in match["words"].replace("=", " ").split() if word != "worker"]
    given: dict[str, str] = {}
    queues: list[str] = []
    while words:
        word = words.pop(0)
        if word[:2] in ("-c", "-l", "-Q", "-P") and len(word) > 2 and not word.startswith("--"):
            words.insert(0, word[2:])
            word = word[:2]
        if not word.startswith("-") and library == "rq":
            queues.append(word)
        elif word not in _KNOWN[library] or (word not in _ALONE and not words):
            return None
        else:
            given[word] = "" if word in _ALONE else words.pop(0)
    queues += [each for each in (given.get("-Q") or given.get("--queues", "")).split(",") if each]
    queues = ["jobs" if each == "celery" else each for each in queues]
    concurrency = given.get("-c") or given.get("--concurrency")
    more = f" --concurrency {concurrency}" if concurrency else ""
    return home.command + more + (f" --queues {','.join(queues)}" if queues else "")
