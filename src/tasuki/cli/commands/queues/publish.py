"""``tasuki publish``: one message, or a file of them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli import loop
from tasuki.cli.exits import ERROR, OK, exit_code_of
from tasuki.cli.options import json_option, project_options
from tasuki.cli.output import count, print_json
from tasuki.cli.project import Target, find_queue
from tasuki.cli.tools.sending import Report, read_header, send_file

if TYPE_CHECKING:
    from tasuki.queues.queue import Envelope

_SHOWN = 20


@click.command("publish")
@click.argument("queue")
@click.argument("body", required=False)
@click.option("--file", "path", type=click.Path(dir_okay=False, allow_dash=True), help="One body a line; - is stdin.")
@click.option("--envelopes", is_flag=True, help="Lines are {body, headers, delay, ttl, priority, key, id}.")
@click.option("--raw", type=click.Choice(["text", "bytes"]), help="The body is text or bytes, not JSON.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header; may be repeated.")
@click.option("--delay", metavar="TIME", help="Deliver it after this time, as in 5s.")
@click.option("--ttl", metavar="TIME", help="Expire it after this time.")
@click.option("--priority", type=click.IntRange(0, 9), help="Priority; 9 comes first.")
@click.option("--key", help="Messages of one key keep their order.")
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
    if (body is None) == (path is None):
        raise click.UsageError("give a BODY, - for stdin, or --file")
    given = {name: value for name, value in options.items() if value is not None}
    if headers:
        given["headers"] = dict(map(read_header, headers))
    if path is not None:
        if "id" in given:
            raise click.UsageError("--id is for one message; in a file of --envelopes each line may have its own")
        return _publish_file(target, queue, path, raw, given, envelopes=envelopes, as_json=as_json)
    if envelopes:
        raise click.UsageError("--envelopes is for --file")
    return _publish_one(target, queue, _read_body(body or "", raw), given, as_json=as_json)


def _read_body(text: str, raw: str | None) -> Any:
    content = sys.stdin.buffer.read() if text == "-" else text.encode("utf-8", "surrogateescape")
    if raw == "bytes":
        return content
    try:
        return content.decode() if raw == "text" else json.loads(content)
    except UnicodeDecodeError:
        raise click.BadParameter("it is not UTF-8 text; use --raw bytes", param_hint="BODY") from None
    except ValueError as error:
        problem = f"it is not JSON: {error}; use --raw text to send it as it is"
        raise click.BadParameter(problem, param_hint="BODY") from None


def _publish_one(target: Target, queue: str, body: Any, options: dict[str, Any], *, as_json: bool) -> int:
    app = target.load()
    id = find_queue(app.check(), queue)

    async def publish() -> Any:
        async with app:
            return await app.live_queue(id).publish(body, **options)

    confirmed = loop.run(publish())
    if as_json:
        print_json({"queue": id, "id": confirmed.id, "status": "confirmed", "durability": confirmed.durability})
    else:
        click.echo(f"{confirmed.id} confirmed by {id}; it survives: {confirmed.durability}")
    return OK


def _publish_file(
    target: Target, queue: str, path: str, raw: str | None, options: dict[str, Any], *, envelopes: bool, as_json: bool
) -> int:
    from tasuki.queues.queue import Envelope

    if raw and envelopes:
        raise click.UsageError("--raw does not go with --envelopes: each line is JSON")
    app = target.load()
    id = find_queue(app.check(), queue)

    async def send() -> Report:
        async with app:
            return await send_file(app.live_queue(id), path, _Line(raw, options, Envelope, envelopes=envelopes))

    report = loop.run(send())
    if as_json:
        print_json({"queue": id, **report.as_dict()})
    else:
        _show(id, report)
    return exit_code_of(report.stopped_by) if report.stopped_by else ERROR if report.problems else OK


class _Line:
    """Turns a line into a body, or into an envelope with what the options say for all."""

    def __init__(
        self, raw: str | None, options: dict[str, Any], type_: type[Envelope[Any]], *, envelopes: bool
    ) -> None:
        self._raw = raw
        self._options = options
        self._type = type_
        self._envelopes = envelopes

    def __call__(self, line: bytes) -> Any:
        import msgspec

        if self._envelopes:
            envelope = msgspec.json.decode(line, type=self._type)
            for name, value in self._options.items():
                if not getattr(envelope, name):  # what the line says wins
                    setattr(envelope, name, value)
            return envelope
        body = msgspec.json.decode(line) if self._raw is None else line if self._raw == "bytes" else line.decode()
        return self._type(body=body, **self._options) if self._options else body


def _show(queue: str, report: Report) -> None:
    click.echo(
        f"{queue}: {report.confirmed} confirmed, {report.rejected} rejected, {report.unknown} unknown"
        + (f"; {report.durability} durability" if report.durability else "")
    )
    for problem in report.problems[:_SHOWN]:
        click.echo(f"line {problem['line']}: {problem['status']}: {problem['error']}", err=True)
    left = report.rejected + report.unknown - min(len(report.problems), _SHOWN)
    if left > 0:
        click.echo(f"and {count(left, 'line')} more", err=True)
    if report.stopped_by:
        click.echo(f"the broker is away: from line {report.next_line} on, nothing was sent", err=True)
