"""The user of this process, for records that people read."""

from __future__ import annotations

import getpass
import socket
from functools import cache


@cache
def user() -> str:
    """The user's name; without one, as in some containers, the host."""
    return user_and_host().partition("@")[0]


@cache
def user_and_host() -> str:
    """``kana@laptop``; without a user's name, as in some containers, the host alone."""
    host = socket.gethostname()
    try:
        return f"{getpass.getuser()}@{host}"
    except (OSError, KeyError, ImportError):  # no such user is known
        return host
