"""The package that ``tasuki mcp`` needs beyond the core."""

from __future__ import annotations

from importlib.util import find_spec

from tasuki.errors import TasukiError


def require_extra() -> None:
    """Return if the SDK is there. Raises TasukiError, which names the extra."""
    if not _is_there("mcp"):
        raise TasukiError("tasuki mcp needs the package mcp: pip install 'tasuki[mcp]'")


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # it was blocked
        return False
