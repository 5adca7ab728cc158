"""Words: the texts of the pages in English and Japanese, from one TOML file each."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tasuki.desk.looks import numbers
from tasuki.desk.looks.said import translated

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
