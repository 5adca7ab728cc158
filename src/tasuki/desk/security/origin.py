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
