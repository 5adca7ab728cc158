"""Which page a request comes from."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit


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
