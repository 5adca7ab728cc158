"""The packages that the desk needs beyond the core, and the desk of an app where they are installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tasuki.errors import TasukiError

if TYPE_CHECKING:
    from tasuki.app.app import App
    from tasuki.desk.desk import Desk

_PACKAGES = ("starlette", "uvicorn", "jinja2")


def require_extra() -> None:
    """Return if the desk can run. Raises TasukiError, which names the extra."""
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise TasukiError(f"the desk needs {', '.join(missing)}: pip install 'tasuki[desk]'")


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
    from tasuki.desk.making import mounted
    from tasuki.desk.security.access import Access, names_of

    names, trusted = names_of(hosts), frozenset(proxies)
    return mounted(app, Access(names, token, actor, actor_header, trusted, is_open=is_open, publish_rate=publish_rate))
