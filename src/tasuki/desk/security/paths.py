"""Paths: one text a segment, as the client wrote them; an encoded slash is part of a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

_MOST_BYTES = 2048


def segments_of(scope: Mapping[str, Any]) -> list[str] | None:
    """The segments of a request's path below the place where the desk is mounted; None: there is no such page.

    Refused: a path that is too long, that is not UTF-8, that has NUL, ``.`` or ``..`` in it, or an empty segment.
    """
    raw: bytes = scope.get("raw_path") or str(scope["path"]).encode()
    root = str(scope.get("root_path", "")).encode()
    raw = raw.partition(b"?")[0]
    if root and raw.startswith(root):
        raw = raw[len(root) :]
    if len(raw) > _MOST_BYTES or (raw and not raw.startswith(b"/")):
        return None
    try:
        found = [unquote_to_bytes(segment).decode() for segment in raw[1:].split(b"/")]
    except UnicodeDecodeError:
        return None
    if found == [""]:
        return []
    return None if any(each in ("", ".", "..") or "\0" in each for each in found) else found


def is_api(scope: Mapping[str, Any]) -> bool:
    """Whether programs ask at a request's path, so that its errors are for programs."""
    path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
    return path.startswith("/api/") or path == "/openapi.json"


def own_path(text: str) -> str:
    """The path of a page of the desk to go back to; the first page for anything that leads elsewhere."""
    plain = text.isprintable() and text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if plain and len(text) <= _MOST_BYTES else "/"
