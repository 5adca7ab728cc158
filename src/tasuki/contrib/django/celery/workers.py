"""Which workers are there."""

from __future__ import annotations

from tasuki.contrib.django.project import project_app


def ping() -> dict[str, dict[str, str]]:
    """``{"host:pid": {"ok": "pong"}}`` for each worker process that has given a sign in the last 15 seconds.

    Raises:
        RuntimeError: there is none. DriverError: the store cannot be read.
    """
    found = project_app().sync.workers.list()
    if not found:
        raise RuntimeError("no worker is running; start one: manage.py tasuki")
    return {f"{each.host}:{each.pid}": {"ok": "pong"} for each in found}
