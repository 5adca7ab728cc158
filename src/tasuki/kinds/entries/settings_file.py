"""The file behind an ``env.storage.file``: lines KEY=VALUE, read each time and replaced as a whole."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasuki.errors import HandlerError
from tasuki.kinds.entries.env import EnvFileConfig
from tasuki.system.replacing import replacing

_QUOTES = "\"'"


def read(root: Path, config: EnvFileConfig) -> dict[str, str]:
    """What it says; nothing if there is no file.

    Raises:
        HandlerError: kind Invalid: it is not UTF-8; Unavailable: it cannot be read.
    """
    try:
        lines = _lines(root / config.file_path, config)
    except FileNotFoundError:
        return {}
    except OSError as error:  # treated as empty, the file would silently give way to the defaults
        raise _unavailable(config, "read", error) from error
    pairs = (line.partition("=") for line in lines if _key(line) is not None)
    return {key.strip(): _unquoted(value.strip()) for key, _, value in pairs}


def write(root: Path, config: EnvFileConfig, key: str, value: str) -> None:
    """Give a key a value; the other lines stay as they are, and a reader sees either the old file or the new one.

    Raises:
        HandlerError: kind Invalid: a text with a line end, or one that UTF-8 cannot hold, or a file that is not UTF-8;
            Unavailable: the file is missing, or cannot be written.
    """
    line = f"{key}={_quoted(value)}"
    if line.splitlines() != [line] or "\0" in line or _key(line) != key or not _is_unicode(line):
        raise HandlerError("a setting in a file must be one line KEY=VALUE", kind="Invalid", retryable=False)
    path = root / config.file_path
    try:
        if config.auto_create:
            path.parent.mkdir(mode=config.dir_mode, parents=True, exist_ok=True)
        with _alone(path.parent):
            _replace(path, config, key, line)
    except FileNotFoundError as error:
        problem = f"file {config.file_path} is missing; auto_create makes it"
        raise HandlerError(problem, kind="Unavailable", retryable=False) from error
    except OSError as error:
        raise _unavailable(config, "written", error) from error


def _unavailable(config: EnvFileConfig, verb: str, error: OSError) -> HandlerError:
    problem = f"file {config.file_path} cannot be {verb}: {error.strerror or error}"
    return HandlerError(problem, kind="Unavailable", retryable=True)


def _replace(path: Path, config: EnvFileConfig, key: str, new: str) -> None:
    if path.is_symlink():
        raise OSError("it is a symbolic link, which a write would replace by a file; name the file that it points to")
    exists = path.exists()
    if not exists and not config.auto_create:
        raise FileNotFoundError(path)
    mode = path.stat().st_mode & 0o7777 if exists else config.file_mode
    lines = [line for line in _lines(path, config) if _key(line) != key] if exists else []
    with replacing(path, mode) as file:
        file.write("".join(f"{line}\n" for line in [*lines, new]))
        file.flush()
        os.fsync(file.fileno())


def _lines(path: Path, config: EnvFileConfig) -> list[str]:
    """Raises OSError; HandlerError with the place of the first byte that is not UTF-8."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        problem = f"{config.file_path}:{line}:{column}: byte 0x{content[error.start]:02x} is not UTF-8"
        raise HandlerError(f"{problem}; save the file as UTF-8", kind="Invalid", retryable=False) from error


def _is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold it: half a surrogate pair it cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


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
    """The value in a form that reads back the same: quoted if it begins or ends with a blank or quote."""
    return f'"{text}"' if text != text.strip() or _unquoted(text) != text else text
