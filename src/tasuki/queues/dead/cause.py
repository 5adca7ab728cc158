"""Why a message died: a fingerprint of the error, equal for like errors, and the place in the user's code."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2s
from traceback import walk_tb
from typing import Literal, NamedTuple

from tasuki.errors import HandlerError
from tasuki.observe.tracebacks import is_ours

MAX_LINE = 500
"""Characters of an error that count; cut before any pattern runs, so that no text takes long."""

NAMING = frozenset(
    {
        "KeyError",
        "AttributeError",
        "NameError",
        "UnboundLocalError",
        "ImportError",
        "ModuleNotFoundError",
        "TypeError",
    }
)
"""Types of errors that quote names of the code or of the data's fields: another name is another cause."""

_NAME = re.compile(r"[^\W\d][\w.-]{0,79}")

_SEGMENT = r"[\w.@%+=~-]{1,255}"

_QUOTED = "<text>"

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]{1,20}://\S+"), "<url>"),
    (re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"), "<email>"),
    (re.compile(rf"(?<![\w.@%+=~/\\<-])(?:[A-Za-z]:)?[\\/]?{_SEGMENT}(?:[\\/]{_SEGMENT})+[\\/]?"), "<path>"),
    (
        # A mark after a letter is an apostrophe: the words of "can't … don't" stay.
        re.compile(r"""(?:^|(?<=[\s(\[{<]))(?:'[^']{0,200}'|"[^"]{0,200}")|«[^»]{0,200}»|「[^」]{0,200}」"""),
        _QUOTED,
    ),
    (
        re.compile(
            r"(?<!\w)(?:0x[0-9a-f]+|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{12,})(?!\w)", re.IGNORECASE
        ),
        "<hex>",
    ),
    (re.compile(r"(?:(?<=\s)[-+])?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?"), "<n>"),
)
"""In this order: a later pattern sees what an earlier one left."""


def _unless_name(found: re.Match[str]) -> str:
    return found[0] if _NAME.fullmatch(found[0][1:-1]) else _QUOTED


_OF_NAMES = tuple((pattern, _unless_name if word == _QUOTED else word) for pattern, word in _PATTERNS)


def cause_of(reason: str, error_type: str, place: str, error: str) -> str:
    """Twelve hexadecimal digits; ``error``: the text of the error, of any length."""
    parts = (reason, error_type, place, normalized(error, error_type))
    return blake2s("\0".join(parts).encode("utf-8", "replace"), digest_size=6).hexdigest()


def normalized(error: str, error_type: str = "") -> str:
    """The first line of an error, with a word in the place of each address, path, quotation and number.

    Quoted names stay in errors of a type that is about names.
    """
    line = first_line(error)
    for pattern, word in _OF_NAMES if error_type.rpartition(".")[2] in NAMING else _PATTERNS:
        line = pattern.sub(word, line)
    return line


def first_line(error: str) -> str:
    """The first line that is not empty, cut."""
    lines = error.lstrip()[:MAX_LINE].splitlines()
    return lines[0].rstrip() if lines else ""


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
