"""The packages behind the extras of the desk, ``tasuki top`` and ``tasuki mcp``."""

from __future__ import annotations

from importlib.util import find_spec

from tasuki.errors import TasukiError

PACKAGES: dict[str, tuple[str, ...]] = {
    "desk": ("tasuki.desk", "starlette", "uvicorn", "jinja2"),
    "top": ("tasuki.top", "textual"),
    "top --once": ("tasuki.top",),
    "mcp": ("tasuki.mcp", "mcp"),
}
"""Command → the packages that it imports; the first one is of the distribution ``tasuki-desk``."""


def require_extra(command: str = "desk") -> None:
    """Return if the packages of a command are installed. Raises TasukiError, which names the extra."""
    missing = [name for name in PACKAGES[command] if not _is_installed(name)]
    if missing:
        who = "the desk" if command == "desk" else f"tasuki {command}"
        names = ", ".join("tasuki-desk" if name.startswith("tasuki.") else name for name in missing)
        way = "; tasuki top --once works without it" if missing == ["textual"] else ""
        raise TasukiError(f"{who} needs {names}: pip install 'tasuki[{command.split(maxsplit=1)[0]}]'{way}")


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # it was blocked
        return False
