"""``tasuki publish``: one message, or a file of them."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
import msgspec

from tasuki.cli import loop
from tasuki.cli.exits import OK
from tasuki.cli.options import json_option, project_options, read_time
from tasuki.cli.output import count, print_json
from tasuki.cli.project import Target, find_queue
from tasuki.cli.tools.sending import OUTCOMES, ReadLine, Report, read_header, send_file
from tasuki.contracts.driver import ACTS
from tasuki.queues.messages.message_builder import Envelope, envelope_of
from tasuki.queues.result import Confirmed

_SHOWN = 20
_SURVIVED = {
    "memory": "nothing",
    "process": "a crash of its worker",
    "broker": "a crash of the broker",
    "power": "a power failure",
    "node": "the loss of a machine",
}
"""Level of durability → what a message survives there."""
_TOOK_THE_PLACE = {"replaced": "has taken the place of", "extended": "has taken the place, and begins the delay, of"}


_QUOTED = 'write it in single quotes and its texts in double ones: \'{"to": "ada"}\''


def _one_body(ctx: click.Context, param: click.Parameter, words: tuple[str, ...]) -> str | None:
    """The body; more words than one are a body without quotes, which the shell has split."""
    if len(words) > 1:
        raise click.BadParameter(f"the shell has split it into {len(words)} words; {_QUOTED}", param_hint="BODY")
    return words[0] if words else None


@click.command("publish")
@click.argument("queue")
@click.argument("body", nargs=-1, metavar="[BODY]", callback=_one_body)
@click.option("--file", "path", type=click.Path(dir_okay=False, allow_dash=True), help="One body a line; - is stdin.")
@click.option("--envelopes", is_flag=True, help="Lines are {body, headers, delay, at, ttl, priority, key, id, unique}.")
@click.option("--raw", type=click.Choice(["text", "bytes"]), help="The body is text or bytes, not JSON.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header; may be repeated.")
@click.option("--delay", metavar="TIME", help="Deliver it after this time, as in 5s.")
@click.option("--at", metavar="WHEN", callback=read_time, help="Deliver it then, as in 2026-12-24T18:00+09:00.")
@click.option("--ttl", metavar="TIME", help="Expire it after this time.")
@click.option("--priority", type=click.IntRange(0, 9), help="Priority; 9 comes first.")
@click.option("--key", help="Messages of one key keep their order.")
@click.option("--unique", metavar="KEY", help="Make it the only message of this key in the queue.")
@click.option("--unique-for", metavar="SPAN", help="pending: while one waits (default); running: until done; a time.")
@click.option("--on-conflict", type=click.Choice(ACTS), help="Keep the other message (default), replace it, extend it.")
@click.option("--unique-max", metavar="TIME", help="The longest time for which extend delays; default 10 delays.")
@click.option("--id", "id", help="The message's id; publishing again with it is safe after an unknown outcome.")
@json_option
@project_options()
def command(
    target: Target,
    queue: str,
    body: str | None,
    path: str | None,
    raw: str | None,
    headers: tuple[str, ...],
    *,
    envelopes: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Publish BODY (JSON; - reads it from stdin) to QUEUE, or each line of a file.

    Returns when the broker has taken responsibility: confirmed, rejected (nothing was stored) or unknown.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if headers:
        given["headers"] = dict(map(read_header, headers))
    for problem, is_so in (
        ("give a BODY, - for stdin, or --file", (body is None) == (path is None)),
        ("--id is for one message; in a file of --envelopes each line may have its own", path and "id" in given),
        ("give --delay or --at, not both", "delay" in given and "at" in given),
        ("--envelopes is for --file", envelopes and path is None),
        ("--raw does not go with --envelopes: each line is JSON", envelopes and raw),
    ):
        if is_so:
            raise click.UsageError(problem)
    content = _read_body(body, raw) if body is not None else None
    app = target.load()
    id = find_queue(app.check(), queue)

    async def publish() -> Confirmed | Report:
        async with app._runtime.briefly():
            live = app._runtime.queue(id)
            if path is None:
                return await live.publish(content, **given)
            return await send_file(live, path, _reader(raw, given, envelopes=envelopes))

    result = loop.run(publish())
    if isinstance(result, Report):
        document, code = {"queue": id, **result.as_dict()}, result.exit_code
    else:
        document = {"queue": id, "id": result.id, "status": "confirmed", "durability": result.durability}
        if result.outcome != "stored":
            document |= {"outcome": result.outcome, "instead_of": result.instead_of}
        code = OK
    (print_json if as_json else _show)(document)
    return code


def _read_body(text: str, raw: str | None) -> Any:
    content = sys.stdin.buffer.read() if text == "-" else text.encode("utf-8", "surrogateescape")
    if raw == "bytes":
        return content
    try:
        return content.decode() if raw == "text" else json.loads(content)
    except UnicodeDecodeError:
        raise click.BadParameter("it is not UTF-8 text; use --raw bytes", param_hint="BODY") from None
    except ValueError as error:
        problem = f"it is not JSON: {error}; {_QUOTED}, or use --raw text to send it as it is"
        raise click.BadParameter(problem, param_hint="BODY") from None


def _reader(raw: str | None, options: dict[str, Any], *, envelopes: bool) -> ReadLine:
    """Turns a line into a body, or into an envelope with the options for all lines."""

    def read_envelope(line: bytes) -> Any:
        envelope = envelope_of(line)
        for name, value in options.items():
            if not getattr(envelope, name):  # what the line says wins
                setattr(envelope, name, value)
        return envelope

    def read_body(line: bytes) -> Any:
        body = msgspec.json.decode(line) if raw is None else line if raw == "bytes" else line.decode()
        return Envelope(body=body, **options) if options else body

    return read_envelope if envelopes else read_body


def _show(done: dict[str, Any]) -> None:
    if done.get("outcome") == "kept":
        click.echo(f"{done['id']} has the key in {done['queue']}; it was kept, and nothing was added")
        return
    if "outcome" in done:
        click.echo(f"{done['id']} {_TOOK_THE_PLACE[done['outcome']]} {done['instead_of']} in {done['queue']}")
        return
    if "status" in done:
        click.echo(f"{done['id']} confirmed by {done['queue']}; it survives {_SURVIVED[done['durability']]}")
        return
    survives = f"; {done['durability']} durability" if done["durability"] else ""
    counts = ", ".join(f"{done[outcome]} {outcome}" for outcome in OUTCOMES)
    click.echo(f"{done['queue']}: {counts}{survives}")
    shown = done["problems"][:_SHOWN]
    for problem in shown:
        click.echo(f"line {problem['line']}: {problem['status']}: {problem['error']}", err=True)
    if left := done["rejected"] + done["unknown"] - len(shown):
        click.echo(f"and {count(left, 'line')} more", err=True)
    if done["not_sent_from_line"]:
        click.echo(f"the broker is unavailable: from line {done['not_sent_from_line']} on, nothing was sent", err=True)
