"""``tasuki info``: the counts of one queue."""

from __future__ import annotations

from typing import Any

import click

from tasuki.cli.options import printing, project_options
from tasuki.cli.output import age, print_pairs
from tasuki.cli.project import Target
from tasuki.cli.tools.control.pausing import pause_text
from tasuki.cli.tools.queues import on_queue


def _show(info: dict[str, Any]) -> None:
    from tasuki.queues.policy import fair_text, limit_text

    paused = {"paused": pause_text(info["paused"])} if "paused" in info else {}
    limit = {"limit": limit_text(info["limit"])} if "limit" in info else {}
    fair = {"fair": fair_text(info["fair"])} if "fair" in info else {}
    unknown = info.pop("is_pause_unknown", False)
    paused |= {"paused": "unknown: its store does not answer"} if unknown else {}
    print_pairs({**info, "oldest_age": age(info["oldest_age"]), **paused, **limit, **fair})


def shown(info: dict[str, Any]) -> dict[str, Any]:
    """What :meth:`Queue.info` says, with an unknown sum where a part of it is unknown."""
    is_known = None not in (info.get("in_flight"), info.get("delayed"))
    return info if is_known else {**info, "message_count": None}


@click.command("info")
@click.argument("queue")
@printing(_show, "at", "until")
@project_options()
def command(target: Target, queue: str) -> dict[str, Any]:
    """Show how many messages QUEUE holds, and how many consumers work on it."""
    return shown(on_queue(target, queue, lambda live: live.info()))
