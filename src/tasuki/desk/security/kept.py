"""The token that is kept for a user and a project: every desk of the project opens with it, also after a restart."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}\n?")
_MOST = 200
"""Bytes that are read of a file."""
_FOLLOWS_NOTHING = os.O_NOFOLLOW | os.O_CLOEXEC


class KeptToken(NamedTuple):
    """A token, and its file; without one it is this process's alone, for the reason in ``problem``."""

    text: str
    path: Path | None
    problem: str = ""


def kept_token(root: Path, environ: Mapping[str, str]) -> KeptToken:
    """The token of a project's folder for this user; it is made if there is none. Never raises OSError.

    The file is in the user's state folder, not in the project: images, archives and commits would take it along.
    """
    name = sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    try:
        folder = _state(environ) / "tasuki" / "desk"
        folder.mkdir(0o700, parents=True, exist_ok=True)
        with _opened(folder) as place:
            return KeptToken(_read(place, name) or _make(place, name), folder / name)
    except (OSError, RuntimeError) as error:
        return KeptToken(secrets.token_urlsafe(32), None, str(error))


def _state(environ: Mapping[str, str]) -> Path:
    """Where a user's programs keep their state. Raises RuntimeError: the user has no home."""
    given = Path(environ.get("XDG_STATE_HOME", ""))  # a relative one does not count, says its specification
    if given.is_absolute():
        return given
    home = environ.get("HOME", "")
    return (Path(home) if home else Path.home()) / ".local" / "state"


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A descriptor of the folder. Raises PermissionError: another user could change its files."""
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _FOLLOWS_NOTHING)
    try:
        found = os.fstat(place)
        if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(f"other users may write into {folder}")
        yield place
    finally:
        os.close(place)


def _read(place: int, name: str) -> str | None:
    """The token of a file that no other user can have read; None: there is none.

    Raises:
        OSError: it is a link, a device, or another user's.
    """
    try:
        file = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _FOLLOWS_NOTHING, dir_fd=place)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(f"{name} is not a file of this user")
        text = os.read(file, _MOST).decode("ascii", "replace")
    finally:
        os.close(file)
    if found.st_mode & 0o077 or not _TOKEN.fullmatch(text):
        os.unlink(name, dir_fd=place)  # others may know it, or it is damaged
        return None
    return text.strip()


def _make(place: int, name: str) -> str:
    """Make the file, whole or not at all; the token of another process that was faster. Raises OSError."""
    token, draft = secrets.token_urlsafe(32), f".{name}.{secrets.token_hex(8)}"
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FOLLOWS_NOTHING, 0o600, dir_fd=place)
    try:
        with open(file, "wb") as opened:
            opened.write(token.encode() + b"\n")
        os.link(draft, name, src_dir_fd=place, dst_dir_fd=place)
    except FileExistsError:
        other = _read(place, name)
        if other is None:
            raise
        return other
    finally:
        os.unlink(draft, dir_fd=place)
    return token
