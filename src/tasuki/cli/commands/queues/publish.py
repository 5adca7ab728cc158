"""``tasuki publish``: one message, or a file of them, batch by batch with a result for each line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import click
import msgspec

from tasuki.cli import loop
from tasuki.cli.exits import ERROR, OK, CommandError, exit_code_of
from tasuki.cli.options import json_option, project_options, read_time
from tasuki.cli.output import bar, count, print_json
from tasuki.cli.project import Target, find_queue
from tasuki.contracts.driver import ACTS
from tasuki.errors import BrokerUnavailableError, TasukiError
from tasuki.queues.messages.message_builder import Envelope, envelope_of
from tasuki.queues.queue import Queue
from tasuki.queues.result import Confirmed, PublishResult, Rejected

BATCH = 1000

BATCH_BYTES = 8 * 2**20

OUTCOMES = ("confirmed", "rejected", "unknown")

MAX_PROBLEMS = 1000
"""Most problems that are kept; all are counted."""


ReadLine = Callable[[bytes], Any]


@dataclass(slots=True)
class Report:
    """What became of the lines: how many, and which were not confirmed."""

    confirmed: int = 0
    rejected: int = 0
    unknown: int = 0
    durability: str | None = None
    problems: list[dict[str, Any]] = field(default_factory=list)
    """``line``, ``id``, ``status``, ``error`` of unconfirmed messages, at most ``MAX_PROBLEMS``."""
    stopped_by: TasukiError | None = None
    """The broker went away: the lines from ``next_line`` on were not sent."""
    next_line: int | None = None

    @property
    def exit_code(self) -> int:
        """Of the command."""
        return exit_code_of(self.stopped_by) if self.stopped_by else ERROR if self.problems else OK

    def as_dict(self) -> dict[str, Any]:
        """Its parts for JSON."""
        counts = {name: getattr(self, name) for name in (*OUTCOMES, "durability")}
        return {**counts, "problems": self.problems, "not_sent_from_line": self.next_line}

    def add(self, line: int, result: PublishResult) -> None:
        """Count one result."""
        if isinstance(result, Confirmed):
            self.confirmed += 1
            self.durability = result.durability
        else:
            self.fail(line, "rejected" if isinstance(result, Rejected) else "unknown", str(result.error), result.id)

    def fail(self, line: int, status: str, error: str, id: str = "") -> None:
        """Count a line that was not confirmed."""
        setattr(self, status, getattr(self, status) + 1)
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append({"line": line, "id": id or None, "status": status, "error": error})


async def send_file(queue: Queue, path: str, read_line: ReadLine) -> Report:
    """Publish each line that is not empty, in order; a line that cannot be read is rejected, and the rest goes on.

    Stops where the broker is unavailable: the report says from which line on nothing was sent.
    """
    report = Report()
    with _opened(path) as (file, size), bar(size, "publishing") as advance:
        read = 0
        for batch in _batches(file):
            read += sum(len(line) for _, line in batch)
            await _send(queue, batch, read_line, report)
            advance(read)
            if report.stopped_by:
                report.next_line = batch[-1][0] + 1
                break
    return report


async def _send(queue: Queue, batch: list[tuple[int, bytes]], read_line: ReadLine, report: Report) -> None:
    numbers, items = [], []
    for number, line in batch:
        try:
            items.append(read_line(line.rstrip(b"\r\n")))
            numbers.append(number)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            report.fail(number, "rejected", f"the line cannot be read: {error}")
    for number, result in zip(numbers, await queue.publish_many(items), strict=True):
        report.add(number, result)
        if not isinstance(result, Confirmed) and isinstance(result.error, BrokerUnavailableError):
            report.stopped_by = result.error


@contextmanager
def _opened(path: str) -> Iterator[tuple[BinaryIO, int]]:
    """The file and its size; 0 if it has none."""
    if path == "-":
        yield sys.stdin.buffer, 0
        return
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise CommandError(f"cannot read {path!r}: {error.strerror or error}") from error
    with file:
        yield file, os.fstat(file.fileno()).st_size


def _batches(file: BinaryIO) -> Iterator[list[tuple[int, bytes]]]:
    """Numbered lines, as many at a time as are safe to hold; empty lines are counted and left out."""
    batch: list[tuple[int, bytes]] = []
    size = 0
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        batch.append((number, line))
        size += len(line)
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def read_header(text: str) -> tuple[str, bool | int | float | str]:
    """``name=value``; a value that reads as a number, true or false is one, all else is text (``"1"`` too)."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--header")
    try:
        read = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeEncodeError):
        read = value
    return name, read if isinstance(read, bool | int | float | str) else value


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
def publish_command(
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
