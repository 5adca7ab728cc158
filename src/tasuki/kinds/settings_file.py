"""The file behind an ``env.storage.file``: lines KEY=VALUE, read anew each time and replaced as a whole."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasuki.errors import HandlerError
from tasuki.kinds.env import EnvFileConfig

_QUOTES = "\"'"


def read(path: Path) -> dict[str, str]:
    """What it says; nothing if it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition("=") for line in lines if _key(line) is not None)
    return {key.strip(): _unquoted(value.strip()) for key, _, value in pairs}


def write(root: Path, config: EnvFileConfig, key: str, value: str) -> None:
    """Give a key a value; the other lines stay as they are, and whoever reads sees the old file or the new one.

    Raises:
        HandlerError: kind Invalid: a text with a line end; Unavailable: the file is missing, or cannot be written.
    """
    line = f"{key}={_quoted(value)}"
    if line.splitlines() != [line] or "\0" in line or _key(line) != key:
        raise HandlerError("a setting in a file is one line KEY=VALUE", kind="Invalid", retryable=False)
    path = root / config.file_path
    try:
        if config.auto_create:
            path.parent.mkdir(mode=config.dir_mode, parents=True, exist_ok=True)
        with _alone(path.parent):
            _replace(path, config, key, line)
    except FileNotFoundError as error:
        problem = f"file {config.file_path} is missing; auto_create makes it"
        raise HandlerError(problem, kind="Unavailable", retryable=False) from error
    except (OSError, UnicodeError) as error:
        problem = f"file {config.file_path} cannot be written: {getattr(error, 'strerror', None) or error}"
        raise HandlerError(problem, kind="Unavailable", retryable=True) from error


def _replace(path: Path, config: EnvFileConfig, key: str, new: str) -> None:
    exists = path.exists()
    if not exists and not config.auto_create:
        raise FileNotFoundError(path)
    mode = path.stat().st_mode & 0o7777 if exists else config.file_mode
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if _key(line) != key] if exists else []
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in [*lines, new]))
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(mode)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one process at a time changes files of a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _key(line: str) -> str | None:
    """The key of a line; None for a comment or anything else."""
    return line.partition("=")[0].strip() if "=" in line and not line.lstrip().startswith("#") else None


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES else text


def _quoted(text: str) -> str:
    """As it reads back the same: quoted where blanks or quotes stand at an end."""
    return f'"{text}"' if text != text.strip() or _unquoted(text) != text else text
