"""Whether a request is for a page or the API, and whether it comes from a page of this desk; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

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


def is_own_origin(headers: Mapping[str, str]) -> bool:
    """Whether a request that changes something comes from a page of the desk, as far as its headers say.

    A browser sends Origin or Sec-Fetch-Site; a program that sends neither has no cookies of a victim.
    """
    origin = headers.get("origin")
    if origin is not None:
        try:
            parts = urlsplit(origin[:300])
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc.lower() == headers.get("host", "").lower()
    return headers.get("sec-fetch-site", "none") in ("same-origin", "none")


def is_linked(headers: Mapping[str, str]) -> bool:
    """Whether a page of another site, such as a terminal in a browser, led here, as far as the browser says."""
    return headers.get("sec-fetch-site", "none") not in ("same-origin", "none")


def is_embedded(headers: Mapping[str, str]) -> bool:
    """Whether a page of another site loads this as a part of itself; a link to the desk is none.

    It could not read the answer, but a hundred images of the largest page would keep the desk, and its process, busy.
    """
    return is_linked(headers) and headers.get("sec-fetch-mode", "navigate") != "navigate"
