"""``tasuki queues``, ``info``, ``peek`` and ``show``: queues, and their waiting messages."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from tasuki.cli import loop
from tasuki.cli.acting import on_queue
from tasuki.cli.commands.queues.pauses import lines_of, orders_by_queue, pause_text
from tasuki.cli.exits import CommandError
from tasuki.cli.message import as_dict, attempt_texts, body_of, find, peek, readable
from tasuki.cli.options import json_option, printing, project_options, secrets_option
from tasuki.cli.output import age, iso, preview, print_json, print_pairs, print_table, print_text
from tasuki.cli.project import Target, is_shared
from tasuki.dead.test_case import as_test
from tasuki.errors import QueueNotFoundError
from tasuki.message import (
    ATTEMPT_RECORDS,
    CAUSE,
    DEAD_LETTER_TIME,
    ERROR_TYPE,
    LAST_ERROR,
    LAST_ERROR_TIME,
    LAST_TRACEBACK,
    PLACE,
    TIMESTAMP,
)
from tasuki.observe.plain import cut, escape

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.kinds.check.project import Project
    from tasuki.message import Message
    from tasuki.queues.queue import Queue


_COUNTS = ("message_count", "ready", "in_flight", "delayed", "oldest_age")


def _show_queues(rows: list[dict[str, Any]]) -> None:
    shown = [(row["queue"], row["driver"], *_counts(row), age(row["oldest_age"])) for row in rows]
    print_table(("QUEUE", "DRIVER", "MESSAGES", "READY", "IN FLIGHT", "DELAYED", "OLDEST"), shown)
    for line in (line for row in rows for line in lines_of(row)):
        click.echo(line, err=True)
    for text in dict.fromkeys(text for row in rows for text in row.get("alarms", ())):
        click.echo(escape(f"worker {text}"), err=True)
    if idle := [row["queue"] for row in rows if row.get("waits_for_worker")]:
        click.echo(f"no worker consumes {', '.join(idle)}; start one: tasuki run", err=True)
    if alone := [row["queue"] for row in rows if row.get("waits_for_consumer")]:
        click.echo(f"no consumer of this project consumes {', '.join(alone)}; declare one", err=True)


def _counts(row: dict[str, Any]) -> list[Any]:
    return [_count(row[name], is_estimate="is_estimate" in row) for name in _COUNTS[:-1]]


def _count(number: int | None, *, is_estimate: bool) -> object:
    return number if number is None or not is_estimate else f"~{number}"


@click.command("queues")
@printing(_show_queues, "at", "until")
@project_options()
def queues_command(target: Target) -> list[dict[str, Any]]:
    """List the queues of the project. Counts of memory queues and of queues that do not exist yet stay empty."""
    from tasuki.kinds.entries.consumer import ConsumerConfig
    from tasuki.kinds.entries.queue import QueueConfig

    app = target.load()
    project = app.check()
    queues = project.of(QueueConfig)
    infos: dict[str, dict[str, Any]] = {}
    orders: dict[str, dict[str, Any]] = {}
    if shared := [id for id in queues if is_shared(project.driver_of(id))]:
        infos, orders = loop.run(_infos(app, project, shared))
    dead = {config.dead_letter.queue for config in queues.values() if config.dead_letter is not None}
    consumed = {config.queue for config in project.of(ConsumerConfig).values()}
    rows = [_queue_row(id, config.driver, infos.get(id, {})) | orders.get(id, {}) for id, config in queues.items()]
    return [{**row, **_waiting(infos.get(row["queue"], {}), dead, consumed)} for row in rows]


async def _infos(
    app: App, project: Project, ids: list[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """The counts of the queues, and the orders for them."""
    from tasuki.app.state.workers import Census

    infos = {}
    async with app._runtime.reading():
        census = Census(app._runtime.live())
        for id in ids:
            with suppress(QueueNotFoundError):  # its broker does not have it yet
                infos[id] = await app._runtime.queue(id).info_by(partial(census.count, id), partial(census.depth, id))
                infos[id]["alarms"] = await census.alarms(id)
        return infos, await orders_by_queue(app, project, infos)


def _waiting(info: dict[str, Any], dead: set[str], consumed: set[str]) -> dict[str, Any]:
    """``waits_for_worker`` where messages wait and no process consumes them; dead letters wait for a person.

    ``waits_for_consumer``: no consumer of the queue is declared either. ``alarms``: the trouble of the workers of
    the queue.
    """
    found: dict[str, Any] = {"alarms": info["alarms"]} if info.get("alarms") else {}
    is_idle = bool(info.get("ready") or info.get("delayed")) and info["consumer_count"] == 0  # None: unknown
    if is_idle and info["queue"] not in dead:
        found["waits_for_worker" if info["queue"] in consumed else "waits_for_consumer"] = True
    return found


def _queue_row(id: str, driver: str, info: dict[str, Any]) -> dict[str, Any]:
    about = {"is_estimate": True} if info.get("is_estimate") else {}
    return {"queue": id, "driver": driver, **{name: shown(info).get(name) for name in _COUNTS}, **about}


def _show_info(info: dict[str, Any]) -> None:
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
@printing(_show_info, "at", "until")
@project_options()
def info_command(target: Target, queue: str) -> dict[str, Any]:
    """Show how many messages QUEUE holds, and how many consumers work on it."""
    return shown(on_queue(target, queue, lambda live: live.info()))


@click.command("peek")
@click.argument("queue")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, help="Most messages to show.")
@secrets_option
@json_option
@project_options()
def peek_command(target: Target, queue: str, limit: int, *, shows_secrets: bool, as_json: bool) -> None:
    """Show the first messages of QUEUE without taking them: those that are ready, then the delayed ones."""

    async def look(live: Queue) -> tuple[str, list[dict[str, Any]]]:
        if not live.driver.capabilities.has("peek"):
            other = "'tasuki info' counts them, and 'tasuki dead' shows dead letters: it receives and releases them"
            raise CommandError(f"queue {live.id!r}: its broker shows no waiting messages; {other}")
        shown = await peek(live, limit)
        return live.id, [as_dict(live, each, is_short=not as_json, shows_secrets=shows_secrets) for each in shown]

    id, messages = on_queue(target, queue, look)
    if as_json:
        print_json(messages)
    elif messages:
        print_table(("ID", "AGE", "LAST ERROR", "HEADERS", "BODY"), [_peek_row(message) for message in messages])
    else:
        click.echo(f"{id} has no waiting messages")


def _peek_row(message: dict[str, Any]) -> tuple[Any, ...]:
    headers = dict(message["headers"])
    published_at = headers.pop(TIMESTAMP, None)
    error = headers.pop(LAST_ERROR, None)
    for name in (ATTEMPT_RECORDS, LAST_TRACEBACK, CAUSE, ERROR_TYPE, PLACE):  # `show` prints them, and `dead`
        headers.pop(name, None)
    failed_at = headers.pop(LAST_ERROR_TIME, headers.get(DEAD_LETTER_TIME))
    if error is not None:
        error = f"{cut(str(error), 60)} ({_age(failed_at)} ago)"
    body = preview(message["body"]) if "body" in message else "base64:" + message["body_base64"]
    shown = " ".join(f"{name}={value}" for name, value in readable(headers, time.time()).items())
    return message["id"], _age(published_at), error, shown, body


def _age(at: object) -> str | None:
    return age(time.time() - at) if isinstance(at, int | float) else None


@click.command("show")
@click.argument("id")
@click.option("--as-test", "is_test", is_flag=True, help="Print a pytest test that handles the message again.")
@secrets_option
@json_option
@project_options()
def show_command(target: Target, id: str, *, is_test: bool, shows_secrets: bool, as_json: bool) -> None:
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
