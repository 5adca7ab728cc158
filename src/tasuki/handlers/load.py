"""Find the Python function of an entry: by import path, or in a source file."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tasuki.errors import HandlerError, HandlerNotFoundError
from tasuki.observe.tracebacks import format_error


def load_path(path: str) -> Any:
    """What ``package.module:name`` (or ``package.module:Class.name``) refers to; the module is imported once.

    Raises:
        HandlerNotFoundError: no such module, or no such name in it.
        HandlerError: the module fails while it is imported; with file and line.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise HandlerError(f"{path!r} is not an import path; write it like package.module:function", kind="Invalid")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name + ".").startswith(error.name + "."):
            raise HandlerNotFoundError(f"there is no module {error.name!r} (from {path!r})", kind="NotFound") from error
        raise _import_error(module_name, error) from error
    except (Exception, SystemExit) as error:
        raise _import_error(module_name, error) from error
    found: Any = module
    for part in name.split("."):
        found = _member(found, part, module_name)
    return found


def load_source(source: Path, method: str) -> Any:
    """The function ``method`` of a file.

    The file becomes a module of its own name, so it hides no other module whatever it is called; two functions of
    the same file share it, and a changed file is a new module. Its folder is put at the *end* of ``sys.path``: it can
    import its siblings, which hide no other module either. A sibling that was changed is not imported again.

    Raises:
        HandlerNotFoundError: no such file, or no such function in it.
        HandlerError: it does not compile, or fails while it runs; with file and line.
    """
    return _member(_load_module(source), method, str(source))


class _Loader(SourceFileLoader):
    """Compiles the bytes it was given, and leaves no cache file in the folder of the user."""

    def __init__(self, name: str, path: str, text: bytes) -> None:
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self._text, self.path)
        return code


def _load_module(source: Path) -> ModuleType:
    source = source.resolve()
    try:
        text = source.read_bytes()
    except OSError as error:
        raise HandlerNotFoundError(f"{source}: {error.strerror or error}", kind="NotFound") from error
    digest = hashlib.sha256(str(source).encode() + b"\0" + text).hexdigest()[:16]
    name = f"_tasuki_{digest}_{source.stem}"
    if name in sys.modules:
        return sys.modules[name]
    if str(source.parent) not in sys.path:
        sys.path.append(str(source.parent))
    spec = spec_from_file_location(name, source, loader=_Loader(name, str(source), text))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Dataclasses and postponed annotations look their module up by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise _import_error(str(source), error) from error
    return module


def _member(owner: Any, name: str, where: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        near = difflib.get_close_matches(name, [other for other in dir(owner) if not other.startswith("_")], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise HandlerNotFoundError(f"{where} has no {name!r}{hint}", kind="NotFound") from None


def _import_error(module: str, error: BaseException) -> HandlerError:
    """The error with the place in the user's code: the innermost frame that is not of the import machinery."""
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}"
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
        place = f"{frames[-1].filename}:{frames[-1].lineno}"
    text = getattr(error, "msg", None) or str(error)
    lines = format_error(error)
    return HandlerError(f"{place}: cannot import {module}: {type(error).__name__}: {text}", traceback=lines)


def prepare(target: Any, name: str) -> Callable[..., Any]:
    """A callable that can be a handler: a class with ``__call__`` becomes an object of it.

    Raises:
        HandlerError: it is none, or a generator function.
    """
    if isinstance(target, type) and "__call__" in {key for base in target.__mro__[:-1] for key in vars(base)}:
        try:
            target = target()
        except TypeError as error:
            raise HandlerError(f"{name}: cannot make an object of {target.__qualname__}: {error}") from error
    if isinstance(target, type) or not callable(target):
        raise HandlerError(f"{name}: {target!r} is not a function", kind="Invalid")
    return target  # type: ignore[no-any-return]
