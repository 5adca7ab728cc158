"""The packages that desk, ``tasuki top`` and ``tasuki mcp`` need, and the desk of an app where they are installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tasuki.errors import TasukiError

if TYPE_CHECKING:
    from tasuki.app.app import App
    from tasuki.desk.desk import Desk

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


def mount(
    app: App,
    *,
    token: str | None,
    hosts: Iterable[str],
    actor: str,
    actor_header: str,
    proxies: Iterable[str],
    is_open: bool,
    publish_rate: float,
) -> Desk:
    """See :meth:`tasuki.App.desk`."""
    require_extra()
    from tasuki.desk.desk import mounted
    from tasuki.desk.security.access import Access, names_of

    names, trusted = names_of(hosts), frozenset(proxies)
    return mounted(app, Access(names, token, actor, actor_header, trusted, is_open=is_open, publish_rate=publish_rate))
