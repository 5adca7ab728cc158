"""The package that ``tasuki top`` needs beyond the core."""

from __future__ import annotations

from importlib.util import find_spec

from tasuki.errors import TasukiError


def require_extra() -> None:
    """Return if there is Textual. Raises TasukiError, which names the extra."""
    if find_spec("textual") is None:
        raise TasukiError("tasuki top needs textual: pip install 'tasuki[top]'; tasuki top --once works without it")
