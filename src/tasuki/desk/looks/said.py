"""Said: sentences of the core in the language of the page; an unknown one stays in English."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from tasuki.desk.looks import numbers
from tasuki.units import parse_duration

_FOLDER = Path(__file__).parent
_NAME = re.compile(r"\{(\w+)\}")
_LONGEST = 2000
"""Characters of a text that is looked up: a longer one is from elsewhere."""
_DEEPEST = 4
"""Sentences within sentences."""
_OPTIONAL = {"s": "s?", "on": r"(?: on [^\s,;]+)?"}
"""Placeholders of what may be missing."""
_DURATION = "age"
"""The placeholder of a duration, as in ``1m38s``."""


class Sentence(NamedTuple):
    """One sentence: what it begins with, a pattern with a group for each placeholder, and its translation."""

    begins: str
    pattern: re.Pattern[str]
    text: str


def pairs(language: str) -> Mapping[str, str]:
    """English sentence with placeholders → its translation; empty for English."""
    file = _FOLDER / f"said_{language}.toml"
    tables = tomllib.loads(file.read_text("utf-8")) if file.exists() else {}
    return {english: text for table in tables.values() for english, text in table.items()}


@cache
def sentences(language: str) -> Sequence[Sentence]:
    """All sentences of a language, those with the longest fixed text first."""
    found = pairs(language)
    order = sorted(found, key=lambda english: -len(_NAME.sub("", english)))
    return [Sentence(english.partition("{")[0], _pattern(english), found[english]) for english in order]


def _pattern(english: str) -> re.Pattern[str]:
    parts, made = _NAME.split(english), list[str]()
    for at, part in enumerate(parts):  # fixed texts, and names between them
        if at % 2 == 0:
            made.append(re.escape(part))
        else:
            is_joined = not parts[at + 1] and at + 2 < len(parts)
            made.append(f"(?P<{part}>{_value(part, is_joined=is_joined)})")
    return re.compile("".join(made))


def _value(name: str, *, is_joined: bool) -> str:
    """What a placeholder takes; one that another one follows at once takes a word."""
    if name in _OPTIONAL:
        return _OPTIONAL[name]
    return r"[^\s,;]+" if is_joined else ".*?"


@lru_cache(2048)
def translated(language: str, text: str, depth: int = 0) -> str | None:
    """The text in a language; None: it is not one of the sentences."""
    if len(text) > _LONGEST or depth > _DEEPEST:
        return None
    for sentence in sentences(language):
        if text.startswith(sentence.begins) and (match := sentence.pattern.fullmatch(text)):
            return sentence.text.format_map(dict(_values(language, match, depth)))
    return None


def _values(language: str, match: re.Match[str], depth: int) -> Iterator[tuple[str, str]]:
    for name, value in match.groupdict().items():
        if name == _DURATION:
            yield name, _duration(language, value)
        else:
            yield name, translated(language, value, depth + 1) or value


def _duration(language: str, text: str) -> str:
    try:
        return numbers.duration(parse_duration(text), language)
    except ValueError:
        return text
