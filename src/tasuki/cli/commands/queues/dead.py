"""``tasuki dead``: dead letters in groups of one cause, and the letters of one group."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from tasuki.cli import loop
from tasuki.cli.exits import CommandError
from tasuki.cli.message import as_dict, attempt_texts, choice_of
from tasuki.cli.options import printing, project_options, secrets_option
from tasuki.cli.output import UNKNOWN, age, count, preview, print_text, print_wrapped
from tasuki.cli.project import Target, find_queue, is_shared, refuse_private
from tasuki.message import is_cause
from tasuki.observe.redact import masked, redact

if TYPE_CHECKING:
    from tasuki.app import App
    from tasuki.dead.reading import DeadLetters
    from tasuki.kinds.check.project import Project
    from tasuki.queues.dead.groups import DeadGroup
    from tasuki.queues.dead.letter import Letter

_INDENT = 8
_BY = ("cause", "type", "place", "queue", "reason", "task", "consumer", "day")
_PRIVATE = "it lives in the memory of the process that runs it; app.dead.letters() shows its letters there"
_MOST = 100
"""Letters that are printed, the newest first; --json has all."""


def _show(done: dict[str, Any]) -> None:
    for group in done.get("groups", ()):
        _show_group(group, done["by"])
    for letter in done.get("letters", ())[:_MOST]:
        _show_letter(letter, is_chosen=done["has_ids"])
    for line in _notes(done):
        click.echo(line)
    if done["unclear"]:
        text = f"{count(done['unclear'], 'letter')} not judged: --where cannot be asked about them: {done['problem']}"
        click.echo(text, err=True)
    for id, number in done["borrowed"].items():
        text = f"{count(number, 'letter')} received and released: its broker cannot show messages"
        click.echo(f"borrowed: queue {id!r}: {text}", err=True)
    for id, number in done["held"].items():
        text = f"{count(number, 'more letter')}, held by a redrive or a consumer now"
        click.echo(f"not shown: queue {id!r}: {text}", err=True)
    for id, why in done["unseen"].items():
        click.echo(f"not shown: queue {id!r}: {why}", err=True)


def _notes(done: dict[str, Any]) -> list[str]:
    where = " in the queues that can be shown" if done["unseen"] else ""
    if not done["count"]:
        return [("no dead letters" if not done["is_chosen"] else "no such dead letters") + where]
    where += " but the held ones" if done["held"] else ""
    first = "; of a borrowed queue the first ones" if done["borrowed"] else ""
    which = f"all{where}" if done["is_all"] else f"of the newest 10,000, or 256 MiB, of each queue{first}"
    notes = [f"{count(done['count'], 'dead letter')} ({which})"]
    if len(done.get("letters", ())) > _MOST:
        notes.append(f"the newest {_MOST} are shown; --json shows all")
    return notes


def _show_group(group: dict[str, Any], by: str) -> None:
    others = "more texts" if (n := group["other_texts"]) is None else count(n, "more text") if n else ""
    sample = (group["sample"] or group["reason"] or "(no error)") + (f" (and {others})" if others else "")
    print_wrapped(click.style(f"{group['count']} x", bold=True), sample, indent=_INDENT)
    key = group["key"] or UNKNOWN
    about = [f"{by} {key}"]
    about += [f"{name} {group[name]}" for name in ("reason", "type", "place") if group[name] and name != by]
    about += [f"from {group['queue']}"] if group["queue"] and by != "queue" else []
    print_wrapped("", " · ".join(about), indent=_INDENT)
    print_wrapped("", f"{_times(group)}; {', '.join(group['ids'])}", indent=_INDENT)
    click.echo()


def _times(group: dict[str, Any]) -> str:
    if group["first"] is None:
        return "at an unknown time"
    now = time.time()
    first, last = age(now - group["first"]), age(now - group["last"])
    return f"{last} ago" if group["count"] == 1 else f"first {first} ago, last {last} ago"


def _show_letter(letter: dict[str, Any], *, is_chosen: bool) -> None:
    print_wrapped(click.style("error", bold=True), letter["error"] or letter["reason"] or "(none)", indent=_INDENT)
    died = "" if letter["at"] is None else f", {age(time.time() - letter['at'])} ago"
    tries = "" if letter["attempts"] is None else f", after attempt {letter['attempts']}"
    tries += f", returned after retry ({letter['redriven']})" if letter["redriven"] else ""
    print_wrapped("id", f"{letter['name']} from {letter['queue'] or UNKNOWN}{tries}{died}", indent=_INDENT)
    kind = " · ".join(f"{name} {letter[name]}" for name in ("cause", "reason", "type", "place") if letter[name])
    print_wrapped("cause", kind.removeprefix("cause "), indent=_INDENT)
    body = preview(letter["body"]) if "body" in letter else "base64:" + letter["body_base64"]
    print_wrapped("body", body, indent=_INDENT)
    if is_chosen:
        for text in attempt_texts(letter["records"], time.time()):
            print_text(f"\n{text}")
    click.echo()


@click.command("dead")
@click.argument("queue", required=False)
@click.option("--group", "by", type=click.Choice(_BY), default="cause", show_default=True, help="What they share.")
@click.option("--of", "key", metavar="KEY", help="Show the letters of this group, as of cause 9f3a….")
@click.option("--where", default="", metavar="EXPR", help="Only letters that it holds for: queue == 'a:b' && age > 60.")
@click.option("--id", "ids", multiple=True, metavar="ID", help="Show this letter, by id or name; may be repeated.")
@secrets_option
@printing(_show)
@project_options()
def dead_command(
    target: Target,
    queue: str | None,
    by: str,
    key: str | None,
    where: str,
    ids: tuple[str, ...],
    *,
    shows_secrets: bool,
) -> dict[str, Any]:
    """Show dead letters in groups of one cause, the largest first. None is taken.

    QUEUE: a dead-letter queue, or a queue that has one; without it all of the project. EXPR is in the language of
    policies; its names: id, queue, reason, type, place, cause, error, task, consumer, day, age (seconds), attempts,
    redriven (times), headers, body.
    """
    app = target.load()
    project = app.check()
    queues, private = _queues(project, queue)
    choice = choice_of(where, ids)
    if by == "cause" and key is not None and is_cause(key):  # an index finds these letters
        choice = choice_of(" && ".join([f"cause == '{key}'", *([f"({where})"] if where else [])]), ids)
    is_list = bool(ids) or key is not None

    async def look() -> dict[str, Any]:
        from tasuki.dead.reading import read

        async with app._runtime.reading():
            found = await read(app._runtime.live(), queues, choice, by, app._runtime.clock, shows=is_list)
            shown = {"by": by, "is_all": found.is_all, "unclear": found.unclear, "problem": found.problem}
            shown |= {
                "unseen": found.unseen | private,
                "borrowed": found.borrowed,
                "held": found.held,
                "is_chosen": bool(choice) or key is not None,
            }
            shown["has_ids"] = bool(ids)
            if not is_list:
                return shown | _groups(found)
            return shown | _letters(app, found, by, key, shows_secrets=shows_secrets)

    return loop.run(look())


def _queues(project: Project, queue: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """What to read, as ``sources_of``; and why the others cannot be. Raises CommandError if none can."""
    from tasuki.dead.reading import sources_of
    from tasuki.errors import QueueNotFoundError

    try:
        found = sources_of(project, find_queue(project, queue) if queue else "")
    except QueueNotFoundError as error:
        raise CommandError(str(error)) from error
    shared = {id: origin for id, origin in found.items() if is_shared(project.driver_of(id))}
    if found and not shared:
        refuse_private(project, next(iter(found)))
    return shared, {id: _PRIVATE for id in found if id not in shared}


def _groups(found: DeadLetters) -> dict[str, Any]:
    return {"count": found.count, "groups": [_fields(group) for group in found.groups]}


def _fields(group: DeadGroup) -> dict[str, Any]:
    names = ("key", "count", "first", "last", "queue", "reason", "type", "place", "other_texts", "ids")
    return {name: getattr(group, name) for name in names} | {"sample": redact(group.sample)}


def _letters(app: App, found: DeadLetters, by: str, key: str | None, *, shows_secrets: bool) -> dict[str, Any]:
    from tasuki.queues.dead.groups import KEYS
    from tasuki.queues.dead.letter import name_of

    mine = [letter for letter in found.letters if key is None or KEYS[by](letter) == key]
    mine.sort(key=lambda letter: letter.at or 0.0, reverse=True)
    ids = Counter(letter.id for letter in found.letters)
    shown = []
    for letter in mine:
        name = name_of(letter.message) if ids[letter.id] > 1 else letter.id
        shown.append({"name": name, **_letter(app, letter, shows_secrets=shows_secrets)})
    return {"count": len(mine), "letters": shown}


def _letter(app: App, letter: Letter, *, shows_secrets: bool) -> dict[str, Any]:
    names = ("queue", "dead", "reason", "type", "place", "cause", "error", "task", "at", "attempts", "redriven")
    about = {name: getattr(letter, name) for name in names}
    about = about if shows_secrets else masked(about)
    message = as_dict(app._runtime.queue(letter.dead), letter.message, shows_secrets=shows_secrets)
    return {**about, **message, "records": letter.attempt_records}
