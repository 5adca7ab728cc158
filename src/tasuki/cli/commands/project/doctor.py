"""``tasuki doctor``: is everything here that the project needs?"""

from __future__ import annotations

from dataclasses import asdict

import click

from tasuki.cli import loop
from tasuki.cli.exits import CONFIG, OK, UNREACHABLE
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import print_json, print_wrapped
from tasuki.cli.project import Target
from tasuki.cli.tools.database_file import Finding
from tasuki.cli.tools.examining import drivers, failure, installation, warnings
from tasuki.errors import TasukiError

_MARKS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "failed": ("failed", "red")}


@click.command("doctor")
@json_option
@project_options(log_level="error")
def command(target: Target, *, as_json: bool) -> int:
    """Examine the installation, the project and its brokers; nothing is made or changed.

    Versions and extras; whether each broker answers, how durable it is and how far its clock is off; where the files
    of SQLite are and who may write them. Exit codes: 3 the project has mistakes, 4 a broker cannot be reached, 1
    another check failed, 0 there are warnings at most.
    """
    found = list(installation())
    try:
        app = target.load()
        project = app.check()
    except TasukiError as error:
        found.append(failure("project", error))
    else:
        found.append(Finding("project", _name(target)))
        found += warnings(project)
        found += loop.run(drivers(app, project))
    if as_json:
        print_json([{name: value for name, value in asdict(each).items() if name != "code"} for each in found])
    else:
        for each in found:
            _show(each)
    codes = {each.code for each in found}
    return next((code for code in (CONFIG, UNREACHABLE) if code in codes), max(codes, default=OK))


def _name(target: Target) -> str:
    found = target.found
    by = f", named by {found.source}" if found.source else ""
    return f"{found.target} in {found.folder.resolve()}{by}"


def _show(found: Finding) -> None:
    word, colour = _MARKS[found.status]
    hint = f"; {found.hint}" if found.hint else ""
    print_wrapped(click.style(word, fg=colour), f"{found.what}: {found.detail}{hint}", indent=9)
