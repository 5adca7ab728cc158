"""Secrets in a body that is edited by who may not see them: masks stand for them, and become them again; no I/O.

A mask becomes the secret only under the names where it was: elsewhere a copy of it would show what it stands for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from tasuki.dead.editing.problems import BODY, EditError, Problem
from tasuki.observe.redact import MASK, masked, redact

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')
_OPENING, _CLOSING = "{[", "}]"

Names = tuple[str, ...]
"""The names on the way to a value; the places in lists do not count, as an edit may move them."""


class _Value(NamedTuple):
    names: Names
    start: int
    end: int


class _Open:
    """A list or mapping whose end has not been read; ``plain`` and ``shown``: what it is, and is without secrets."""

    def __init__(self, start: int, names: Names, step: int | None, plain: Any, shown: Any) -> None:
        self.start, self.names, self.step, self.plain, self.shown = start, names, step, plain, shown

    step: str | int | None
    """Where its next value is; None: its name comes next."""


@lru_cache(maxsize=4)
def hidden(text: str) -> str | None:
    """A JSON text with a mask for each secret; None: its secrets cannot be separated from the rest."""
    try:
        found = _masks(text)
    except (ValueError, RecursionError):
        return None
    plain = _with(text, {value: mask.text for value, mask in found.items()})
    is_clean = redact(plain) == plain  # a repeated key, or a secret across values, is in no value that was compared
    return _with(text, {value: mask.shown for value, mask in found.items()}) if is_clean else None


def _with(text: str, instead: Mapping[_Value, str]) -> str:
    for value, mask in sorted(instead.items(), reverse=True, key=lambda pair: pair[0].start):
        text = text[: value.start] + json.dumps(mask, ensure_ascii=False) + text[value.end :]
    return text


def revealed(text: str, original: str) -> str:
    """An edited text with the secrets of the original one in the place of their masks.

    Raises:
        EditError: a mask is where the letter has no secret.
    """
    masks = _masks(original)
    known = {(value.names, mask.shown): original[value.start : value.end] for value, mask in masks.items()}
    before = {mask for _, mask in known}
    parts, end, problems = list[str](), 0, list[Problem]()
    for value, _, _ in _values(text):
        shown = text[value.start : value.end]
        if not shown.startswith('"') or ((mask := json.loads(shown)) not in before and MASK not in mask):
            continue
        if (secret := known.get((value.names, mask))) is None:
            line = text.count("\n", 0, value.start) + 1
            problems.append(Problem(BODY, f"{mask[:40]} stands for a secret, and the letter has none here", line))
            continue
        parts += [text[end : value.start], secret]
        end = value.end
    if problems:
        raise EditError(problems)
    return "".join(parts) + text[end:]


class _Mask(NamedTuple):
    text: str
    number: int
    """Of those with this text under the same names."""

    @property
    def shown(self) -> str:
        return self.text if self.number == 1 else self.text + f" ({self.number})"


def _masks(text: str) -> dict[_Value, _Mask]:
    """The secret values of a JSON text, and the mask of each: the same one twice under the same names has a number."""
    plain = json.loads(text)
    found: dict[_Value, _Mask] = {}
    taken: dict[tuple[Names, str], int] = {}
    skipped = -1
    values = _values(text, [plain], [masked(plain)])
    for value, there, instead in sorted(values, key=lambda each: (each[0].start, -each[0].end)):
        if value.start < skipped or not isinstance(instead, str) or there == instead:
            continue
        number = taken[value.names, instead] = taken.get((value.names, instead), 0) + 1
        found[value] = _Mask(instead, number)
        skipped = value.end
    return found


def _values(text: str, plain: Any = None, shown: Any = None) -> Iterator[tuple[_Value, Any, Any]]:
    """Every value of a JSON text with its place, after its parts. Text that is no JSON gives some.

    ``plain`` and ``shown``: lists of the decoded text, and of the same without secrets; each value comes with both.
    """
    open_ = [_Open(0, (), 0, plain, shown)]
    for token in _TOKEN.finditer(text):
        mark, top = token[0], open_[-1]
        if mark in _OPENING:
            first = 0 if mark == "[" else None
            open_.append(
                _Open(token.start(), _names(top), first, _part(top.plain, top.step), _part(top.shown, top.step))
            )
        elif mark in _CLOSING:
            if len(open_) > 1:
                ended = open_.pop()
                yield _Value(ended.names, ended.start, token.end()), ended.plain, ended.shown
        elif mark == ",":
            top.step = top.step + 1 if isinstance(top.step, int) else None
        elif top.step is None:
            top.step = json.loads(mark) if mark.startswith('"') else mark
        elif mark != ":":
            yield _Value(_names(top), *token.span()), _part(top.plain, top.step), _part(top.shown, top.step)


def _names(top: _Open) -> Names:
    return (*top.names, top.step) if isinstance(top.step, str) else top.names


def _part(whole: Any, step: str | int | None) -> Any:
    """None within a value that is masked as a whole."""
    if isinstance(whole, dict):
        return whole.get(step)
    return whole[step] if isinstance(whole, list) and isinstance(step, int) else None
