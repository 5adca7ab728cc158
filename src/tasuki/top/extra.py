"""The package that ``tasuki top`` needs beyond the core."""

from __future__ import annotations

from importlib.util import find_spec

from tasuki.errors import TasukiError


def require_extra() -> None:
    """Return if there is Textual. Raises TasukiError, which names the extra."""
    if not _is_there("textual"):
        raise TasukiError("tasuki top needs textual: pip install 'tasuki[top]'; tasuki top --once works without it")


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # it was blocked
        return False
