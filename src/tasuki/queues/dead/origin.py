"""Origin: the type of an error, and the place in the user's code where it was raised."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from traceback import walk_tb
from typing import Literal, NamedTuple

from tasuki.errors import HandlerError
from tasuki.observe.frames import is_ours

_DEEPEST = 20
"""Causes of an error that are looked at."""
MAX_CHARS = 200
_PACKAGES = re.compile(r"[\\/](?:site|dist)-packages[\\/]")
_LIBRARY = re.compile(r"[\\/]lib[\\/]python3\.\d+[\\/]|[\\/]Lib[\\/](?=[^\\/]+\.py$|asyncio|concurrent)|^<frozen ")
_HERE = os.path.dirname(os.__file__) + os.sep
_PYTHON_FRAME = re.compile(r'^ *File "([^"\n]{1,500})", line \d+, in (\S{1,200})', re.MULTILINE)
_LUA_FRAME = re.compile(r"^ +([^\s\[]{1,300}):\d+: in (?:[a-z]+ )?[<']?([^\s'>]{1,200})", re.MULTILINE)
_TYPE = re.compile(r"([A-Za-z_][\w.]{0,199})(?::|$)")


class Origin(NamedTuple):
    """``type``: the qualified name of a class, or a kind; ``place``: ``file:function``. Empty: unknown."""

    type: str = ""
    place: str = ""


Frame = tuple[str, str]
"""A file and a function."""


def origin_of(error: BaseException) -> Origin:
    """Of an error that is at hand; an error of Tasuki's own stands for the user's that caused it."""
    chain = list(_chain(error))
    found = next((each for each in chain if not _is_own(type(each))), chain[-1])
    places = (_place(each) for each in (found, *(each for each in chain if each is not found)))
    return Origin(_type(found)[:MAX_CHARS], next(filter(None, places), "")[:MAX_CHARS])


def origin_in(error: str, traceback: str) -> Origin:
    """Of a letter that says only a text and a traceback, as older ones do."""
    last = traceback.rstrip().rpartition("\n")[2] if _PYTHON_FRAME.search(traceback) else error
    found = _TYPE.match(last)
    name = found[1] if found else ""
    # A plain text may begin with a word and a colon; the names of classes have a capital.
    return Origin(name if name.rpartition(".")[2][:1].isupper() else "", _place_in(traceback)[:MAX_CHARS])


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes; ``raise error from error`` makes a circle."""
    each: BaseException | None = error
    for _ in range(_DEEPEST):
        if each is None:
            return
        yield each
        each = each.__cause__


def _is_own(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "tasuki"


def _type(error: BaseException) -> str:
    if isinstance(error, HandlerError) and _is_own(type(error)):
        if name := _theirs(error.names):
            return name
        if error.kind:
            own = error.details.get("name") if error.details else None
            return f"{error.kind}.{own}" if isinstance(own, str) and own else error.kind
    kind = type(error)
    return kind.__name__ if _is_own(kind) else _plain(f"{kind.__module__}.{kind.__qualname__}")


def _theirs(names: Sequence[str]) -> str:
    """The class of an error of another process: ``names`` has each class without and with its module."""
    qualified = [name for name in names if "." in name]
    return _plain(next((name for name in qualified if not name.startswith("tasuki.")), ""))


def _plain(name: str) -> str:
    return name.removeprefix("builtins.")


def _place(error: BaseException) -> str:
    # Of an error of Lua or of another process, whose frames here are Tasuki's.
    place = _place_of(error) if isinstance(error, HandlerError) and error.traceback else ""
    return place or _innermost(
        (frame.f_code.co_filename, frame.f_code.co_name) for frame, _ in walk_tb(error.__traceback__)
    )


def _place_of(error: HandlerError) -> str:
    """Without its message, which a traceback of Lua begins with: the rest is the same for all that fail at one line."""
    return _place_in(error.traceback.removeprefix(error.message))


@lru_cache(256)
def _place_in(traceback: str) -> str:
    # The last error of a chain stands at its end, and the innermost frame of Python too; of Lua at its start.
    last = (
        traceback[traceback.rfind("Traceback (most recent call last)") :] if "Traceback (" in traceback else traceback
    )
    if place := _innermost((found[1], found[2]) for found in _PYTHON_FRAME.finditer(last)):
        return place
    found = _LUA_FRAME.search(traceback)
    if found is None:
        return ""
    # Lua names a function without a name by its line, which the next deploy shifts.
    return found[1] if ":" in found[2] else f"{found[1]}:{found[2]}"


def _innermost(frames: Iterable[Frame]) -> str:
    """The last frame of the user's own code; if the project itself is an installed package, the first of that."""
    installed: Frame | None = None
    own: Frame | None = None
    for frame in frames:
        match _whose(frame[0]):
            case "installed":
                installed = installed or frame
            case "own":
                own = frame
    found = own or installed
    return f"{_relative(found[0])}:{found[1]}" if found else ""


def is_library(file: str) -> bool:
    """Whether a source file is of an installed package, of Python or of Tasuki; on whatever machine it is."""
    return _whose(file) != "own"


@lru_cache(2048)
def _whose(file: str) -> Literal["", "installed", "own"]:
    """Whose code a file is; empty: Tasuki's, or Python's own."""
    if is_ours(file) or _is_library(file):
        return ""
    return "installed" if _PACKAGES.search(file) else "own"


def _is_library(file: str) -> bool:
    is_here = file.startswith(_HERE) or _LIBRARY.search(file) is not None
    return is_here and _PACKAGES.search(file) is None


def _relative(file: str) -> str:
    """The file without the folder that it was imported from: the same on every machine."""
    return _relative_to(file, os.getcwd(), tuple(sys.path))


@lru_cache(2048)
def _relative_to(file: str, here: str, paths: tuple[str, ...]) -> str:
    for folder in [here, *sorted(filter(None, paths), key=len, reverse=True)]:
        if file.startswith(prefix := folder.rstrip(os.sep) + os.sep):
            return file[len(prefix) :].replace(os.sep, "/")
    found = _PACKAGES.search(file)
    return (file[found.end() :] if found else file).replace("\\", "/")
