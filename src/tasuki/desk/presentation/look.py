"""Look: the templates, compiled once, and the static files, from a fixed table."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasuki.desk.dead.rows import bars
from tasuki.desk.presentation import charts, numbers
from tasuki.desk.reading import bodies
from tasuki.queues.policy import limit_text
from tasuki.state.worker_record import worker_id

_FOLDER = Path(__file__).parent
_TYPES = {
    "desk.css": "text/css; charset=utf-8",
    "desk.js": "text/javascript; charset=utf-8",
    "desk.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Static:
    """A file that every page uses; ``name`` changes with its content, so that a browser may keep it."""

    name: str
    type: str
    content: bytes


class Appearance:
    """Made once in a process: see ``the_look``."""

    def __init__(self) -> None:
        self.environment = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self.environment.filters |= {
            "number": numbers.number,
            "rate": numbers.rate,
            "second": lambda each: numbers.NONE if each is None else numbers.a_second(each),
            "plain": numbers.plain,
            "size": numbers.size,
            "iso": numbers.iso,
            "clock": numbers.clock,
            "line": bodies.line,
            "lines": bodies.lines,
            "worker_id": worker_id,
        }
        self.environment.globals |= {"limit_text": limit_text, "charts": charts, "bars": bars}
        self._templates = {name: self.environment.get_template(name) for name in self.environment.list_templates()}
        files = {file: _static(file) for file in _TYPES}
        self.static = {each.name: each for each in files.values()}
        self._names = {file: each.name for file, each in files.items()}

    def path_of(self, file: str) -> str:
        """The name under which ``desk.css`` or ``desk.js`` is served now."""
        return self._names[file]

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        """A page, or its changing part."""
        return self._templates[template].render(values)


@cache
def the_look() -> Appearance:
    """The look of every desk of this process."""
    return Appearance()


def _static(file: str) -> Static:
    content = (_FOLDER / "static" / file).read_bytes()
    stem, _, ending = file.rpartition(".")
    return Static(f"{stem}.{sha256(content).hexdigest()[:12]}.{ending}", _TYPES[file], content)


def packed(text: str) -> bytes:
    """The text as gzip, quickly."""
    return gzip.compress(text.encode("utf-8", "replace"), compresslevel=4, mtime=0)


def takes_gzip(accepted: str) -> bool:
    """Whether a client takes gzip, by its header ``Accept-Encoding``."""
    for part in accepted.lower()[:500].split(","):
        name, _, weight = part.strip().partition(";")
        if name.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
