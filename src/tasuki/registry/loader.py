"""Loader: the YAML files of a project → a registry of entries, with all problems; no file from outside its root."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from unicodedata import normalize

from tasuki.errors import ConfigError, InvalidEntryError, Position
from tasuki.ids import NAME_HINT, is_name
from tasuki.registry.entry import HIDDEN, Entry, KeyPath, Registry, value_at, with_value
from tasuki.registry.overrides import Variables, apply_overrides, filled, resolve_entry
from tasuki.registry.yaml import (
    Declarations,
    Document,
    has_entries,
    may_be_misspelt,
    may_declare,
    misspelt_namespace,
    read_document,
)
from tasuki.scalars import Substituted

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
        content = _contents(inside, real.relative_to(inside).parts, limit)
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


def _contents(root: str, parts: tuple[str, ...], limit: int) -> bytes:
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


MAX_FILE_BYTES = 5 * 2**20

_FILES: tuple[KeyPath, ...] = (("source",), ("tls", "cert"), ("tls", "key"), ("tls", "ca"))
"""Where ``file://x`` names a file whose text is the value."""

_SKIPPED_FOLDERS = frozenset({"node_modules"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """The readable entries, and all problems of the others, in no particular order."""

    registry: Registry
    errors: list[ConfigError] = field(default_factory=list)


def load(
    target: Path,
    *,
    declared: Iterable[Entry] = (),
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Read a project: a folder (all of its YAML files), or a single YAML file, and the entries ``declared`` in code.

    ``environ`` is where placeholders look first (None: the process environment). Never raises for mistakes in
    the files: ``Loaded.errors`` has all of them. File names in positions begin as ``target`` does.
    """
    errors: list[ConfigError] = []
    folder = target if target.is_dir() else target.parent
    source_root = _source_root(folder, errors) if target.is_dir() else folder
    if not target.exists():
        problem, hint = "there is no such file or folder", _hint_for_python(target.with_suffix(".py"))
        errors.append(ConfigError(problem, position=Position(str(target)), hint=hint))
    paths = yaml_files(source_root) if target.is_dir() else [target] if target.exists() else []
    nameless: list[Position] = []
    entries = [entry for path in paths for entry in _read_file(path, source_root, errors, nameless)]
    entries += declared
    if target.is_file() and not entries and not errors:
        hint = _hint_for_python(target) or "a project's file needs version, namespace and entries"
        errors.append(ConfigError("the file declares no entries", position=Position(str(target)), hint=hint))
    registry = Registry(root=folder, source_root=source_root, nameless=tuple(nameless))
    loaded = assemble(entries, registry, overrides=overrides, environ=environ)
    return Loaded(loaded.registry, errors + loaded.errors)


def _hint_for_python(path: Path) -> str:
    is_python = path.suffix == ".py" and path.is_file()
    return f"for an app in Python write {path.stem}:app, with the name of your App" if is_python else ""


def assemble(
    entries: Iterable[Entry],
    registry: Registry,
    *,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Entries, from files or from code, as a registry with the folders of the given one.

    Refuses bad names and duplicate ids, then applies overrides, placeholders and ``file://`` sources, in this order.
    """
    errors: list[ConfigError] = []
    by_id = _by_id(entries, errors)
    by_id, override_errors = apply_overrides(by_id, overrides)
    errors += override_errors
    variables = Variables(os.environ if environ is None else environ, by_id)
    root = registry.source_root or registry.root
    finished = {id: _finish(entry, variables, root, errors) for id, entry in by_id.items()}
    return Loaded(replace(registry, entries=finished), errors)


def _by_id(entries: Iterable[Entry], errors: list[ConfigError]) -> dict[str, Entry]:
    result: dict[str, Entry] = {}
    namespaces = set()
    for entry in entries:
        first = result.setdefault(entry.id, entry)
        if entry.namespace not in namespaces:
            namespaces.add(entry.namespace)
            _check_name(entry, "namespace", entry.namespace, errors)
        _check_name(entry, "name", entry.name, errors)
        if first is not entry:
            where = f" at {first.position()}" if first.position() else ""
            errors.append(entry.error(f"entry {entry.id!r} is already defined{where}", ("name",)))
    return result


def _check_name(entry: Entry, word: str, text: str, errors: list[ConfigError]) -> None:
    if not is_name(text):
        problem, place = f"{text[:80]!r} is not a valid {word}", entry.position(("name",))
        bare = text.removeprefix(f"{entry.namespace}:")
        hint = f"the file's namespace goes before it: write {bare}" if is_name(bare) else _composed(text)
        errors.append(InvalidEntryError(problem, position=place, hint=hint))


def _composed(text: str) -> str:
    """What to write in place of a text that is no name."""
    composed = normalize("NFC", text)
    return f"write its letters composed (NFC): {composed}" if is_name(composed) else NAME_HINT


def _finish(entry: Entry, variables: Variables, root: Path, errors: list[ConfigError]) -> Entry:
    """The entry with the values of its variables, and the text of its files; a value without one is ``unknown``."""
    data, problems = resolve_entry(entry, variables)

    def report(path: KeyPath, problem: str, hint: str = "") -> None:
        problems[path] = entry.error(problem, path, hint)

    data = filled(entry.kind, entry.namespace, data, variables, report)
    for path in _FILES:
        reference = value_at(data, path)
        if isinstance(reference, str) and reference.startswith(SCHEME):
            try:
                data = with_value(data, path, load_source(reference, entry.folder or root, root))
            except ValueError as error:
                name = ".".join(map(str, path))
                is_hidden = isinstance(reference, Substituted)
                report(path, f"{name}: {HIDDEN} names no file that can be read" if is_hidden else str(error))
    errors += problems.values()
    return replace(entry, data=data, unknown=frozenset(problems))


def _source_root(folder: Path, errors: list[ConfigError]) -> Path:
    """The folder itself, or ``directories.src`` of its ``wippy.lock`` (default ``./src``)."""
    lock = folder / "wippy.lock"
    if not lock.exists():
        return folder
    text = _read(lock, folder)
    document = Document(errors=[text]) if isinstance(text, ConfigError) else read_document(text, str(lock))
    errors += document.problems
    directories = document.value.get("directories") if isinstance(document.value, dict) else None
    source = directories.get("src", "./src") if isinstance(directories, dict) else "./src"
    root = folder / str(source)
    position = document.positions.get(("directories", "src"), Position(str(lock)))
    if not Path(os.path.realpath(root)).is_relative_to(os.path.realpath(folder)):
        errors.append(ConfigError(f"the source folder {source!r} is outside the project", position=position))
        return folder
    if not root.is_dir():
        errors.append(ConfigError(f"the source folder {source!r} does not exist", position=position))
    return root


def yaml_files(root: Path) -> Iterator[Path]:
    """The YAML files below a folder, in the order of reading; hidden folders are skipped."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED_FOLDERS)
        yield from (Path(folder, name) for name in sorted(files) if name.endswith((".yaml", ".yml")))


def _read(path: Path, root: Path) -> str | ConfigError:
    try:
        return read_text(path, root, MAX_FILE_BYTES)
    except ValueError as error:
        return ConfigError(str(error), position=Position(str(path)))


def _read_file(path: Path, root: Path, errors: list[ConfigError], nameless: list[Position]) -> list[Entry]:
    """Entries of one file; none if it has no namespace, because then it is not ours.

    A file that has entries all the same is added to ``nameless``.
    """
    text = _read(path, root)
    if isinstance(text, ConfigError):
        errors.append(text)
        return []
    if not may_declare(text):
        if may_be_misspelt(text):
            document = read_document(text, str(path))
            errors += (misspelt := misspelt_namespace(document, path))
            if not misspelt and has_entries(document):
                nameless.append(document.positions.get(("entries",), Position(str(path))))
        return []
    declarations = Declarations(read_document(text, str(path)), path)
    errors += declarations.errors
    return declarations.entries
