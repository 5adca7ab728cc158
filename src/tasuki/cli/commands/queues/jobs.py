"""``tasuki cancel``, ``status``, ``result``, ``explain`` and ``signal``: the job of one message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from tasuki.cli import loop
from tasuki.cli.acting import acting, ids_text
from tasuki.cli.exits import ERROR, CommandError
from tasuki.cli.options import json_option, printing, project_options
from tasuki.cli.output import count, print_json, print_pairs
from tasuki.cli.project import Target, find_queue, is_shared, refuse_all_private
from tasuki.errors import HandlerError, RequestTimeoutError, UnsupportedError
from tasuki.kinds.entries.queue import QueueConfig

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.app.explain.rule import Explanation
    from tasuki.app.jobs import Job


T = TypeVar("T")


def on_job(target: Target, id: str, queue: str | None, work: Callable[[Job[Any]], Awaitable[T]]) -> T:
    """The result of the work on a job, in this queue or in the first that knows it. Raises CommandError."""
    app = target.load()
    project = app.check()
    if queue is not None:
        places = [find_queue(project, queue)]
    else:
        places = [each for each in project.of(QueueConfig) if is_shared(project.driver_of(each))]

    async def run() -> T:
        async with app._runtime.reading():
            return await work(await _find(app, id, places))

    return loop.run(run())


_NAMED = 10
"""Queues that the error of an unknown id names."""


async def _find(app: App, id: str, queues: list[str]) -> Job[Any]:
    if len(queues) == 1:
        return app.jobs.get(id, queue=queues[0])
    assert app._runtime.assembly is not None
    untold: list[str] = []
    for queue in queues:
        job = app.jobs.get(id, queue=queue)
        if app._runtime.assembly.state_of(queue) is None:
            continue
        try:
            if await job.status() != "unknown":
                return job
        except UnsupportedError:
            untold.append(queue)
    more = f" and {len(queues) - _NAMED} more" if len(queues) > _NAMED else ""
    where = ", ".join(queues[:_NAMED]) + more or "there is none"
    unsure = (
        f"; {', '.join(untold)} may have it, but keeps no results: write result: 1h (result='1h' in code)"
        if untold
        else ""
    )
    raise CommandError(
        f"no queue with a state knows message {id!r}: {where}{unsure}; tasuki explain looks for it everywhere"
    )


@click.command("cancel")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--queue", metavar="QUEUE", help="The queue of the messages; default: search all that are consumed.")
@click.option("--file", "path", type=click.Path(dir_okay=False, allow_dash=True), help="One id a line; - is stdin.")
@json_option
@project_options()
def cancel_command(target: Target, ids: tuple[str, ...], queue: str | None, path: str | None, *, as_json: bool) -> None:
    """Cancel the messages with these IDs: they do not start any more, and their handlers are interrupted.

    Prints where each was: waiting, running or not found; or requested, where the broker cannot remove it by its id.
    Nothing brings a cancelled message back for 7 days: no retry, redrive or restart.
    """
    wanted = list(dict.fromkeys([*ids, *(_lines(path) if path is not None else ())]))
    if not wanted:
        raise click.UsageError("give an ID, or --file")
    if queue is None and len(wanted) > 1:
        raise click.UsageError("several messages are cancelled in one queue: give --queue")
    app = target.load()
    project = app.check()
    refuse_all_private(project)
    id = None if queue is None else find_queue(project, queue)

    async def cancel() -> dict[str, Any]:
        async with app._runtime.briefly(), acting(app, "cancel", id or "*", id or "") as outcome:
            outcome.filter, outcome.count = ids_text(wanted), len(wanted)
            if len(wanted) == 1:
                outcome.result = found = await app.jobs.cancel(wanted[0], queue=id)
                return {"id": wanted[0], "outcome": found}
            assert id is not None
            counts = dict(msgspec.to_builtins(await app.jobs.cancel_many(wanted, queue=id)))
            outcome.result = ", ".join(_parts(counts))
            return counts

    found = loop.run(cancel())
    if as_json:
        print_json(found)
    elif "outcome" in found:
        click.echo(found["outcome"])
    else:
        click.echo(f"{count(len(wanted), 'message')}: {', '.join(_parts(found))}")


def _parts(counts: dict[str, Any]) -> list[str]:
    return [f"{counts[name]} {name.replace('_', ' ')}" for name in counts if counts[name]]


def _lines(path: str) -> Iterator[str]:
    try:
        with click.open_file(path, encoding="utf-8") as file:
            yield from (line for text in file if (line := text.strip()))
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {path}: {error}") from error


def _show_status(found: dict[str, Any]) -> None:
    progress = found.pop("progress")
    if progress is not None:
        of = "" if progress["total"] is None else f" of {progress['total']:g}"
        found["progress"] = f"{progress['done']:g}{of} {progress['note']}".rstrip()
    print_pairs(found)


@click.command("status")
@click.argument("id")
@click.option("--queue", metavar="QUEUE", help="The queue of the message; default: search all.")
@printing(_show_status)
@project_options()
def status_command(target: Target, id: str, *, queue: str | None) -> dict[str, Any]:
    """Say what has become of the message ID, and how far its handler is.

    It is waiting, delayed, running, done, failed, dead (in the dead-letter queue), cancelled, expired or unknown.
    Without `result` at the queue a message that has ended is unknown, unless it is dead or cancelled.
    """

    async def look(job: Job[Any]) -> dict[str, Any]:
        progress = await job.progress()
        return {
            "id": id,
            "queue": job.queue,
            "status": await job.status(),
            "progress": None if progress is None else msgspec.to_builtins(progress),
        }

    return on_job(target, id, queue, look)


@click.command("result")
@click.argument("id")
@click.option("--queue", metavar="QUEUE", help="The queue of the message; default: search all.")
@click.option("--timeout", default="0s", show_default=True, metavar="TIME", help="How long to wait for its end.")
@project_options()
def result_command(target: Target, id: str, *, queue: str | None, timeout: str) -> None:
    """Print what the handler of the message ID returned, as JSON; its failure is an error.

    Needs `result` at the queue.
    """

    async def look(job: Job[Any]) -> Any:
        try:
            return await job.result(timeout)
        except (HandlerError, RequestTimeoutError) as error:
            raise CommandError(str(error)) from error

    print_json(on_job(target, id, queue, look))


@click.command("explain")
@click.argument("id")
@click.option("--queue", metavar="QUEUE", help="The queue of the message; default: search all.")
@json_option
@project_options()
@click.pass_context
def explain_command(ctx: click.Context, target: Target, id: str, *, queue: str | None, as_json: bool) -> None:
    """Say why the message ID does not run now: the first cause, then the others, each with what changes it.

    Looks through the first 10,000 waiting messages, and asks the workers. Ends with 1 if no message is found, also
    where its broker does not show messages and nothing else reports it. Without --queue an unavailable broker does not
    end the search.
    """
    from tasuki.app.explain.looking import explain_in, search
    from tasuki.kinds.entries.queue import QueueConfig

    app = target.load()
    project = app.check()
    refuse_all_private(project)
    one = None if queue is None else find_queue(project, queue)
    shared = [each for each in project.of(QueueConfig) if is_shared(project.driver_of(each))]

    async def look() -> Explanation:
        async with app._runtime.reading():
            live = app._runtime.live()
            return await (
                search(live, app._runtime.clock, shared, id)
                if one is None
                else explain_in(live, app._runtime.clock, one, id)
            )

    found = loop.run(look())
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(found))
    else:
        _show_explain(found)
    if not found.found:
        ctx.exit(ERROR)


def _show_explain(found: Explanation) -> None:
    click.echo(f"{found.queue or 'no queue'} · {found.id}")
    for cause in found.causes:
        click.echo(f"- {cause.text}")
        if cause.act:
            click.echo(f"  → {cause.act}")


def _show_signal(done: dict[str, Any]) -> None:
    click.echo("given" if done["first"] else "given before: the first one counts")


@click.command("signal")
@click.argument("event")
@click.argument("key")
@click.argument("value", metavar="[JSON]", required=False)
@printing(_show_signal)
@project_options()
def signal_command(target: Target, event: str, key: str, value: str | None) -> dict[str, Any]:
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
