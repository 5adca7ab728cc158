"""The packages that the desk, ``tasuki top`` and ``tasuki mcp`` need beyond the core."""

from __future__ import annotations

from importlib.util import find_spec

from tasuki.errors import TasukiError

PACKAGES: dict[str, tuple[str, ...]] = {
    "desk": ("starlette", "uvicorn", "jinja2"),
    "top": ("textual",),
    "mcp": ("mcp",),
}
_OTHER_WAY = {"top": "; tasuki top --once works without it"}


def require_extra(extra: str = "desk") -> None:
    """Return if the packages of an extra are there. Raises TasukiError, which names the extra."""
    if missing := [name for name in PACKAGES[extra] if not _is_there(name)]:
        who = "the desk" if extra == "desk" else f"tasuki {extra}"
        way = _OTHER_WAY.get(extra, "")
        raise TasukiError(f"{who} needs {', '.join(missing)}: pip install 'tasuki[{extra}]'{way}")


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # it was blocked
        return False
