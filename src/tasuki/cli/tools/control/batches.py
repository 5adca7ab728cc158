"""Batches as commands begin, follow and show them."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli.exits import CommandError
from tasuki.cli.output import count, is_terminal, print_pairs
from tasuki.cli.progress import bar
from tasuki.cli.project import is_shared
from tasuki.cli.tools.control.acting import acting, ids_text
from tasuki.dead.batch import RIGHTS
from tasuki.errors import BatchStateError

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.dead.batch import Act, Batch

BACKGROUND = "Leave it to the workers, which go on without this command."


def can_begin(app: App, queue: str) -> bool:
    """Whether a batch of this queue's letters can be kept where other processes see it; of an open app."""
    live = app._runtime.live()
    state = live.state_of(queue)
    return state is not None and is_shared(live.project.driver_of(queue)) and state.driver.capabilities.multi_process


async def in_a_batch(app: App, act: Act, queue: str, label: str, *, background: bool, **options: Any) -> Batch:
    """Begin a batch, and follow it to its end, unless it is left to the workers. Raises as ``follow``."""
    async with acting(app, RIGHTS[act], queue, queue) as outcome:
        outcome.filter = " ".join(filter(None, (options["where"], ids_text(options["ids"]))))
        batch = await app.dead.batches.begin(act, queue, drive=not background, **options)
        outcome.batch = batch.id
        if not background:
            batch = await follow(app, batch, label)
            outcome.count = batch.done
    return batch


async def follow(app: App, batch: Batch, label: str) -> Batch:
    """Wait until a batch ends or stands still, with a bar. Ctrl-C pauses it, and says how to go on.

    Raises:
        CommandError: it has failed, or its canary has stopped it.
    """
    try:
        with bar(batch.total or batch.there or 0, label) as advance:
            batch = await app.dead.batches.wait(batch.id, lambda now: advance(now.undone if now.is_back else now.done))
    except asyncio.CancelledError:
        await asyncio.shield(_pause(app, batch.id))
        raise
    if batch.state in ("failed", "stopped"):
        raise CommandError(f"batch {batch.id} {batch.state}: {batch.problem}; {_counts(batch)}. {_next(batch)}")
    return batch


async def _pause(app: App, id: str) -> None:
    batch = await app.dead.batches.get(id)
    if batch.state == "undoing":
        click.echo(f"\nbatch {id}: {_counts(batch)}; the undo is left to the workers. {_next(batch)}", err=True)
        return
    with suppress(BatchStateError):
        batch = await app.dead.batches.pause(id)
        click.echo(f"\npaused batch {id}: {_counts(batch)}. {_next(batch)}", err=True)


def _next(batch: Batch) -> str:
    if batch.is_back or batch.state == "undoing":
        return f"tasuki batches {batch.id} --undo goes on"
    undo = f", tasuki batches {batch.id} --undo takes back what still waits" if batch.kept else ""
    return f"tasuki batches {batch.id} --resume goes on{undo}"


def _counts(batch: Batch) -> str:
    parts = [f"undone {batch.undone} of {batch.done}" if batch.is_back else f"{batch.done} done"]
    parts += [f"{batch.unsure} of them not known yet"] if batch.unsure and not batch.is_driven else []
    parts += [f"{batch.returned} failed again"] if batch.returned else []
    parts += [] if not batch.left else [f"{batch.left} left"]
    return ", ".join(parts)


def show_begun(done: dict[str, Any]) -> None:
    """Say that a batch was left to the workers."""
    click.echo(f"batch {done['batch']} is left to the workers; tasuki batches {done['batch']} shows it")


def show_end(batch: dict[str, Any]) -> None:
    """Say what a batch has done."""
    if batch["state"] == "undone":
        started = f"; {batch['started']} have started, or are gone" if batch["started"] else ""
        click.echo(f"undone {batch['undone']:,} of {batch['done']:,}{started}")
        if batch["problem"]:
            click.echo(batch["problem"], err=True)
        return
    if batch["returned"]:
        click.echo(f"{count(batch['returned'], 'message')} failed again", err=True)
    if missing := _missing(batch):
        click.echo(f"of the ids of --id, {missing:,} waited there no more, or were not chosen by --where", err=True)
    if batch["gone"]:
        click.echo(f"{count(batch['gone'], 'message')} had gone: another process was faster", err=True)
    if batch["unclear"]:
        click.echo(f"{count(batch['unclear'], 'message')} not judged: --where cannot be asked about them", err=True)
    if batch["stayed"]:
        why = batch["problem"] or "from no queue of this project, or none that it may publish to; use --to"
        click.echo(f"{count(batch['stayed'], 'message')} stayed: {why}", err=True)
    if batch["can_undo"] and is_terminal(sys.stderr):
        until = " within 15 minutes" if batch["act"] == "delete" else ", as long as they wait"
        click.echo(f"tasuki batches {batch['id']} --undo takes them back{until}", err=True)


def _missing(batch: dict[str, Any]) -> int:
    """How many of the chosen ids had no letter that the batch could move."""
    if not batch["ids"] or batch["state"] != "done" or batch["limit"]:
        return 0
    return max(0, int(batch["ids"] - batch["done"] - batch["gone"] - batch["stayed"] - batch["unclear"]))


def show_one(batch: dict[str, Any]) -> None:
    """All that is known of a batch."""
    shown = {name: value for name, value in batch.items() if value not in (None, "", 0, False) or name == "done"}
    for name in ("begun", "ended"):
        if batch[name] is not None:
            shown[name] = f"{datetime.fromtimestamp(batch[name], UTC):%Y-%m-%dT%H:%M:%SZ}"
    if batch["group"]:
        shown["group"] = f"{batch['group']['by']} {batch['group']['key']}"
    print_pairs(shown)
