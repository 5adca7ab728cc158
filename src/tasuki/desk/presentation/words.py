"""Words: the texts of the pages in English and Japanese, and sentences of the core in the language of the page."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from tasuki.desk.presentation import numbers
from tasuki.units import parse_duration

LANGUAGES = ("en", "ja")
_FOLDER = Path(__file__).parent


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Key, with dots between its parts → text with ``{placeholders}``."""
    return dict(_flat(tomllib.loads((_FOLDER / f"{language}.toml").read_text("utf-8")), ""))


def _flat(table: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def say(language: str, key: str, values: Mapping[str, object]) -> str:
    """The text of a key. With ``n`` the form for that number: ``key.one`` or ``key.other``.

    The values are shown as they are; each must be text or a number that is formatted already, but for ``n``.
    """
    texts = catalogue(language)
    text = texts.get(key)
    if text is None:
        text = texts[f"{key}.one" if values.get("n") in (1, "1") and f"{key}.one" in texts else f"{key}.other"]
    return text.format_map(values)


def tell(language: str, key: str, values: Mapping[str, object]) -> str:
    """As ``say``, with the values in the form of the language: ``n``, ``age`` and ``limit`` (seconds), ``rate``.

    ``text`` and ``why``: sentences of the core.
    """
    shown = dict(values)
    if isinstance(n := values.get("n"), int):
        shown["n"] = numbers.number(n)
    for name in ("age", "limit"):
        if isinstance(seconds := values.get(name), float):
            shown[name] = numbers.duration(seconds, language)
    if isinstance(rate := values.get("rate"), float):
        shown["rate"] = numbers.rate(rate)
    for name in ("text", "why"):
        if isinstance(text := values.get(name), str):
            shown[name] = translated(language, text) or text
    return say(language, key, shown)


def choose(asked: str, remembered: str, accepted: str) -> str:
    """The language of a page: what its address asks for, else the one chosen before, else one of the browser's."""
    for each in (asked, remembered):
        if each in LANGUAGES:
            return each
    found: list[tuple[float, str]] = []
    for part in accepted[:500].split(","):
        name, _, weight = part.strip().partition(";q=")
        language = name.partition("-")[0].lower()
        if language in LANGUAGES:
            found.append((_number(weight), language))
    return max(found, key=lambda item: item[0])[1] if found else LANGUAGES[0]


def _number(text: str) -> float:
    try:
        return float(text) if text else 1.0
    except ValueError:
        return 0.0


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
    file = _FOLDER / f"translations_{language}.toml"
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
