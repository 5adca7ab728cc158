"""Settings for handlers: the values of ``env.variable`` entries, and the files behind ``env.storage.file``."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tasuki.errors import HandlerError
from tasuki.ids import resolve_id
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.env import (
    EnvFileConfig,
    EnvMemoryConfig,
    EnvOsConfig,
    EnvRouterConfig,
    EnvStaticConfig,
    EnvVariableConfig,
)
from tasuki.system.replacing import replacing

_QUOTES = "\"'"


def read_file(root: Path, config: EnvFileConfig) -> dict[str, str]:
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
    pairs = (line.partition("=") for line in lines if _key_of(line) is not None)
    return {key.strip(): _unquoted(value.strip()) for key, _, value in pairs}


def write_file(root: Path, config: EnvFileConfig, key: str, value: str) -> None:
    """Give a key a value; the other lines stay as they are, and a reader sees either the old file or the new one.

    Raises:
        HandlerError: kind Invalid: a text with a line end, or one that UTF-8 cannot hold, or a file that is not UTF-8;
            Unavailable: the file is missing, or cannot be written.
    """
    line = f"{key}={_quoted(value)}"
    if line.splitlines() != [line] or "\0" in line or _key_of(line) != key or not _is_unicode(line):
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
    lines = [line for line in _lines(path, config) if _key_of(line) != key] if exists else []
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


def _key_of(line: str) -> str | None:
    """The key of a line; None for a comment or anything else."""
    return line.partition("=")[0].strip() if "=" in line and not line.lstrip().startswith("#") else None


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES else text


def _quoted(text: str) -> str:
    """The value in a form that reads back the same: quoted if it begins or ends with a blank or quote."""
    return f'"{text}"' if text != text.strip() or _unquoted(text) != text else text


class Settings:
    """Reads and sets declared variables; a stored empty text counts as unset, then the default holds.

    Args:
        project: whose entries.
        environ: the environment of the process; default the real one.
        kept: the settings before a reload; values set in memory stay.
    """

    def __init__(
        self, project: Project, environ: Mapping[str, str] | None = None, *, kept: Settings | None = None
    ) -> None:
        self._project = project
        self._environ = os.environ if environ is None else environ
        self._variables = project.of(EnvVariableConfig)
        self._public = {config.variable: id for id, config in self._variables.items() if config.variable}
        self.memory: dict[str, dict[str, str]] = {
            id: kept.memory.get(id, {}) if kept else {}
            for id, config in project.of(EnvMemoryConfig).items()
            if type(config) is EnvMemoryConfig
        }

    def get(self, name: str, namespace: str) -> str | None:
        """The value of a variable's public name, or of its entry id (a bare one is of ``namespace``); or None.

        Raises:
            HandlerError: the file that it is stored in is not UTF-8 (Invalid), or cannot be read (Unavailable).
        """
        id = self._id(name, namespace)
        return None if id is None else self._value(id)

    def set(self, name: str, value: str, namespace: str) -> None:
        """Store a value.

        Raises:
            HandlerError: kind NotFound: not declared; PermissionDenied: the variable or its storage is read-only;
                Invalid: a text that a file cannot hold, or a file that is not UTF-8; Unavailable: the file cannot be
                written.
        """
        id = self._id(name, namespace)
        if id is None:
            raise HandlerError("environment variable not found", kind="NotFound", retryable=False)
        variable = self._variables[id]
        if variable.is_read_only:
            raise HandlerError("environment variable is read-only", kind="PermissionDenied", retryable=False)
        self._store(variable.storage, _key(id, variable), value)

    def names(self, name: str, namespace: str) -> tuple[str, ...]:
        """All names that a variable answers to; none: it is not declared."""
        id = self._id(name, namespace)
        return () if id is None else tuple(each for each in (self._variables[id].variable, id) if each)

    def all(self, namespace: str) -> dict[str, str]:
        """Every variable that has a value, by public name (or id), and what else memory, files and entries hold.

        Of the environment of the process, only declared variables: handlers need not see the others.
        """
        found = {}
        for id, config in self._project.of(EnvMemoryConfig).items():
            if isinstance(config, EnvFileConfig):
                found.update(read_file(self._project.registry.root, config))
            elif isinstance(config, EnvStaticConfig):
                found.update({name: value.get_secret_value() for name, value in config.values.items()})
            found.update(self.memory.get(id, {}))
        found = {name: value for name, value in found.items() if name and value}
        for id, variable in self._variables.items():
            if value := self._value(id):
                found[variable.variable or id] = value
        return found

    def _id(self, name: str, namespace: str) -> str | None:
        id = self._public.get(name) or resolve_id(name, namespace)
        return id if id in self._variables else None

    def _value(self, id: str) -> str | None:
        config = self._variables[id]
        return self._stored(config.storage, _key(id, config)) or config.default or None

    def _storage(self, id: str | None) -> object:
        return self._project.configs[id] if id else EnvOsConfig()

    def _store(self, id: str | None, key: str, value: str) -> None:
        storage = self._storage(id)
        if isinstance(storage, EnvRouterConfig):
            self._store(storage.storages[0], key, value)
        elif isinstance(storage, EnvOsConfig | EnvStaticConfig):
            raise HandlerError("storage is read-only", kind="PermissionDenied", retryable=False)
        elif isinstance(storage, EnvFileConfig):
            write_file(self._project.registry.root, storage, key, value)
        else:
            self.memory[str(id)][key] = value

    def _stored(self, id: str | None, key: str) -> str | None:
        storage = self._storage(id)
        if isinstance(storage, EnvRouterConfig):
            return next((value for each in storage.storages if (value := self._stored(each, key))), None)
        if isinstance(storage, EnvStaticConfig):
            held = storage.values.get(key)
            return None if held is None else held.get_secret_value()
        if isinstance(storage, EnvFileConfig):
            return read_file(self._project.registry.root, storage).get(key)
        if isinstance(storage, EnvOsConfig):
            return self._environ.get(key)
        return self.memory[str(id)].get(key)


def _key(id: str, config: EnvVariableConfig) -> str:
    return config.variable or id.partition(":")[2]
