"""Source code of entries: inline text, or a file that may not leave the source root."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

MAX_SOURCE_BYTES = 2**20
SCHEME = "file://"

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO without a writer would wait forever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a script, and the file that it came from (None: the entry itself)."""

    text: str
    file: Path | None = None


def load_source(reference: str, folder: Path, root: Path) -> Source:
    """The file behind ``file://x`` (from ``folder``) or ``file:///x`` (from ``root``).

    Raises:
        ValueError: it leaves the root, does not exist, is no regular file, too large, or not UTF-8.
    """
    name = reference.removeprefix(SCHEME)
    if not name.strip("/") or "\0" in name or "\\" in name:
        hint = name.replace("\\", "/") if "\\" in name else "handler.lua"
        raise ValueError(f"{reference!r} does not name a file; write it like file://{hint}")
    path = root / name.lstrip("/") if name.startswith("/") else folder / name
    return Source(read_text(path, root, MAX_SOURCE_BYTES), Path(os.path.realpath(path)))


def read_text(path: Path, root: Path, limit: int) -> str:
    """The UTF-8 text of a regular file of at most ``limit`` bytes inside the root; symlinks may not leave it.

    Raises:
        ValueError: anything else; the message names the file and the mistake.
    """
    inside = os.path.realpath(root)
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(inside):
        raise ValueError(f"{str(path)!r} leaves the source root")
    try:
        content = _read(inside, real.relative_to(inside).parts, limit)
    except FileNotFoundError:
        raise ValueError(f"file {str(path)!r} does not exist") from None
    except OSError as error:
        raise ValueError(f"file {str(path)!r} cannot be read: {error.strerror or error}") from error
    if len(content) > limit:
        raise ValueError(f"file {str(path)!r} is larger than {limit} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"file {str(path)!r} is not UTF-8 text (line {line})") from None


def _read(root: str, parts: tuple[str, ...], limit: int) -> bytes:
    """At most ``limit`` + 1 bytes; every step is opened without following links, so nothing can be swapped in."""
    folder = os.open(root, _DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = inner
        file = os.open(parts[-1] if parts else ".", _FILE, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError("it is not a regular file")
    with os.fdopen(file, "rb") as opened:
        return opened.read(limit + 1)
