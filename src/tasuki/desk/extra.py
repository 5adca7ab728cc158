"""The packages that the desk needs beyond the core."""

from __future__ import annotations

from importlib.util import find_spec

from tasuki.errors import TasukiError

_PACKAGES = ("starlette", "uvicorn", "jinja2")


def require_extra() -> None:
    """Return if the desk can run. Raises TasukiError, which names the extra."""
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise TasukiError(f"the desk needs {', '.join(missing)}: pip install 'tasuki[desk]'")
