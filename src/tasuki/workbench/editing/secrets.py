"""Secrets in a body that is edited by who may not see them: masks stand for them, and become them again; no I/O.

A mask becomes the secret only under the names where it was: elsewhere a copy of it would show what it stands for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tasuki.observe.redact import MASK, masked, redact
from tasuki.workbench.editing.problems import BODY, EditError, Problem

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')
_OPENING, _CLOSING = "{[", "}]"

Names = tuple[str, ...]
"""The names on the way to a value; the places in lists do not count, as an edit may move them."""


class _Value(NamedTuple):
    names: Names
    steps: tuple[str | int, ...]
    start: int
    end: int


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
    for value in _values(text):
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
    shown = masked(plain)
    found: dict[_Value, _Mask] = {}
    taken: dict[tuple[Names, str], int] = {}
    skipped = -1
    for value in sorted(_values(text), key=lambda each: (each.start, -each.end)):
        if value.start < skipped:
            continue
        there, instead = _at(plain, value.steps), _at(shown, value.steps)
        if there == instead and type(there) is type(instead):
            skipped = value.end  # nothing in it is secret
        elif isinstance(instead, str):
            number = taken[value.names, instead] = taken.get((value.names, instead), 0) + 1
            found[value] = _Mask(instead, number)
            skipped = value.end
    return found


def _at(plain: Any, steps: tuple[str | int, ...]) -> Any:
    for step in steps:
        plain = plain[step]
    return plain


def _values(text: str) -> Iterator[_Value]:
    """Every value of a JSON text with its place; a value comes after its parts. Text that is no JSON gives some."""
    open_: list[tuple[int, dict[str, Any]]] = []  # where it begins, and its next step
    for token in _TOKEN.finditer(text):
        mark = token[0]
        top = open_[-1][1] if open_ else None
        if mark in _OPENING:
            open_.append((token.start(), {"step": 0 if mark == "[" else None}))
        elif mark in _CLOSING:
            if open_:
                start, _ = open_.pop()
                yield _value(open_, start, token.end())
        elif mark == ",":
            if top is not None:
                top["step"] = top["step"] + 1 if isinstance(top["step"], int) else None
        elif mark == ":":
            continue
        elif top is not None and top["step"] is None:
            top["step"] = json.loads(mark) if mark.startswith('"') else mark
        else:
            yield _value(open_, token.start(), token.end())


def _value(open_: Sequence[tuple[int, Mapping[str, Any]]], start: int, end: int) -> _Value:
    steps = tuple(about["step"] for _, about in open_)
    return _Value(tuple(step for step in steps if isinstance(step, str)), steps, start, end)
