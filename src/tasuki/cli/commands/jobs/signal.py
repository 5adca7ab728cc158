"""``tasuki signal``: the value that messages wait for."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from tasuki.cli import loop
from tasuki.cli.options import printing, project_options
from tasuki.cli.project import Target, refuse_all_private


def _show(done: dict[str, Any]) -> None:
    click.echo("given" if done["first"] else "given before: the first one counts")


@click.command("signal")
@click.argument("event")
@click.argument("key")
@click.argument("value", metavar="[JSON]", required=False)
@printing(_show)
@project_options()
def command(target: Target, event: str, key: str, value: str | None) -> dict[str, Any]:
    """Give the value that messages wait for with wait_for(EVENT, KEY); without JSON it is true.

    It may come before the messages: it stays for 30 days. The first signal of an event and key counts.
    """
    try:
        given = True if value is None else msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise click.BadParameter(f"{value!r} is no JSON: {error}", param_hint="JSON") from error
    app = target.load()
    refuse_all_private(app.check())

    async def signal() -> bool:
        async with app._runtime.briefly():
            return await app.signal(event, key, given)

    return {"event": event, "key": key, "first": loop.run(signal())}
