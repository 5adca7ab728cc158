"""What ``tasuki doctor`` finds about the file of a SQLite driver: whether it can be one, and who may write it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tasuki.cli.exits import ERROR
from tasuki.units import format_size

_MAGIC = b"SQLite format 3\x00"  # sqlite.org/fileformat2.html#magic_header_string
_BESIDE = ("-wal", "-shm", ".holders", ".ballast")
"""Files and the folder of the driver beside the database; a worker writes all of them."""
_ANOTHER = "give the driver another path, or move that away"


@dataclass(frozen=True, slots=True)
class Finding:
    """One checked fact; ``code``: the exit code that a failure leads to."""

    what: str
    detail: str
    status: Literal["ok", "warning", "failed"] = "ok"
    hint: str = ""
    code: int = 0


def file(id: str, path: Path) -> Finding:
    """Where the queues are, who may write there, and whether this user may. Call it before the driver is opened.

    Closing the file drops the locks that SQLite holds on it in this process.
    """
    try:
        about = path.stat()
    except FileNotFoundError:
        folder = next(place for place in path.parents if place.exists())
        return _writable(id, f"file {path}: the first worker or publish makes it", [folder])
    except NotADirectoryError:
        part = next(place for place in path.parents if place.exists())
        return _failed(id, f"file {path}: {part} is a file, not a folder", _ANOTHER)
    except OSError as error:
        return _failed(id, str(error), "run it as a user that may read the folder")
    if not stat.S_ISREG(about.st_mode):
        kind = "a folder" if stat.S_ISDIR(about.st_mode) else "no regular file"
        return _failed(id, f"file {path}: it is {kind}", "write the path of a file, such as .tasuki/queue.db")
    mode = stat.filemode(about.st_mode)
    text = f"file {path}: {format_size(about.st_size)}, {mode}, owner {_user(about.st_uid)}"
    beside = (path.with_name(path.name + end) for end in _BESIDE)
    found = _writable(id, text, [path, path.parent, *filter(Path.exists, beside)])
    if found.status == "ok" and about.st_size and _head(path) != _MAGIC:
        return _failed(id, f"{text}; it is no SQLite database", _ANOTHER)
    return found


def _writable(id: str, text: str, places: list[Path]) -> Finding:
    for place in places:
        if not os.access(place, os.W_OK | os.X_OK if place.is_dir() else os.R_OK | os.W_OK):
            user = _user(os.getuid())
            return _failed(
                id, f"{text}; user {user} may not write {place}", f"run it as its owner, or let {user} write there"
            )
    return Finding(id, text)


def _failed(id: str, problem: str, hint: str) -> Finding:
    return Finding(id, problem, "failed", hint, ERROR)


def _head(path: Path) -> bytes:
    with path.open("rb") as opened:
        return opened.read(len(_MAGIC))


def _user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
