"""``tasuki show``: one waiting message, whole, or as a test."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from tasuki.cli import loop
from tasuki.cli.exits import CommandError
from tasuki.cli.options import json_option, project_options, secrets_option
from tasuki.cli.output import iso, preview, print_json, print_pairs, print_text
from tasuki.cli.project import Target, is_shared
from tasuki.cli.tools.control.pausing import pause_text
from tasuki.cli.tools.message import as_dict, attempt_texts, body_of, find, readable
from tasuki.dead.test_case import as_test
from tasuki.errors import QueueNotFoundError
from tasuki.message import ATTEMPT_RECORDS, LAST_TRACEBACK

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.message import Message


@click.command("show")
@click.argument("id")
@click.option("--as-test", "is_test", is_flag=True, help="Print a pytest test that handles the message again.")
@secrets_option
@json_option
@project_options()
def command(target: Target, id: str, *, is_test: bool, shows_secrets: bool, as_json: bool) -> None:
    """Show the waiting message ID, wherever it is: ready, delayed, or a dead letter; with its last failed attempts."""
    from tasuki.dead.reading import attempts_shown

    app = target.load()
    if is_test and as_json:
        raise click.UsageError("--as-test prints Python: leave out --json")
    places = _places(app)
    if not places.shown:
        raise _absent(places, id)

    async def look() -> None:
        async with app._runtime.reading():
            queue, message = await _find(app, places.shown, id)
            if message is None:
                raise _absent(places, id)
            live = app._runtime.queue(queue)
            pause = None if live.find_pause is None else await live.find_pause() or None
            records = await attempts_shown(app._runtime.live(), live, message)
            shown = {
                "queue": queue,
                **({} if pause is None else {"paused": pause}),
                **as_dict(live, message, is_short=not as_json, shows_secrets=shows_secrets),
                "attempts": [{**msgspec.to_builtins(each), "at": iso(each.at)} for each in records],
            }
            if is_test:
                print_text(as_test(message, body_of(live, message), queue, live.codec_of(message)).rstrip("\n"))
            elif as_json:
                print_json(shown)
            else:
                body = shown.get("body", "base64:" + str(shown.get("body_base64")))
                headers = dict(shown["headers"])
                traceback = headers.pop(LAST_TRACEBACK, "")
                headers.pop(ATTEMPT_RECORDS, None)
                paused = {} if pause is None else {"paused": pause_text(pause)}
                now = app._runtime.clock.time()
                print_pairs({"queue": queue, **paused, "id": id, **readable(headers, now), "body": preview(body)})
                for text in attempt_texts(records, now) or ([str(traceback)] if traceback else []):
                    print_text(f"\n{text}")

    loop.run(look())


class _Places(NamedTuple):
    """Ids of queues, by whether this process can look into them."""

    shown: list[str]
    mute: list[str]
    """Their brokers show no waiting messages."""
    private: list[str]
    """They are in the memory of another process."""


def _absent(places: _Places, id: str) -> CommandError:
    text = f"no waiting message {id!r} in {', '.join(places.shown) or 'any queue'}"
    if places.mute:
        text += f"; not searched, as their brokers show no waiting messages: {', '.join(places.mute)}"
        text += f" (for dead letters: tasuki dead --id {quote(id)})"
    if places.private:
        text += f"; not searched, as they are in the memory of another process: {', '.join(places.private)}"
    return CommandError(text)


def _places(app: App) -> _Places:
    from tasuki.kinds.entries.queue import QueueConfig
    from tasuki.kinds.kind import driver_class

    project = app.check()
    places = _Places([], [], [])
    for id in project.of(QueueConfig):
        kind = project.driver_of(id)
        if not is_shared(kind):
            places.private.append(id)
        else:
            (places.shown if driver_class(kind).capabilities.has("peek") else places.mute).append(id)
    return places


async def _find(app: App, queues: list[str], id: str) -> tuple[str, Message | None]:
    for queue in queues:
        try:
            message = await find(app._runtime.queue(queue), id)
        except QueueNotFoundError:  # no worker has made it yet
            continue
        if message is not None:
            return queue, message
    return "", None
