"""Dry run of one message: its consumer, how another process loads the app, and the order to that process."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from tasuki.app.assembly import Assembly
from tasuki.app.dry_run.child import Answer, run_child
from tasuki.app.dry_run.report import DryRun, report_of
from tasuki.contracts.driver import Outgoing
from tasuki.contracts.state.store import MAX_PAGE
from tasuki.errors import DriverError, HandlerError, LifecycleError
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.message import DEAD_LETTER_REASON, DUE, ORIGINAL_QUEUE, Message
from tasuki.queues.dead_letter import redriven

if TYPE_CHECKING:
    from tasuki.app.runtime import Runtime
    from tasuki.app.source import Source


class Loading(NamedTuple):
    """What to load, as ``App.load`` takes it; ``environ`` is None for the process environment."""

    target: str
    overrides: list[str]
    environ: dict[str, str] | None
    path: list[str]
    """Where modules are found."""


def loading_of(runtime: Runtime) -> Loading:
    """How to load the app.

    Raises:
        LifecycleError: it is neither in a module nor a folder, so no other process can find it.
    """
    source = runtime.source
    environ = None if source.environ is None else dict(source.environ)
    path = [os.path.abspath(each) for each in sys.path]
    target = _name_of(source)
    if target is None and source.target is not None and not source.declared.entries:
        target = str(source.target.resolve())
    if target is None:
        raise LifecycleError(
            "a dry run loads the app in its own process, and this one is made within a function: make it at the "
            "top level of a module (app = App(…))"
        )
    return Loading(target, list(runtime.overrides), environ, path)


def _name_of(source: Source) -> str | None:
    """``module:name`` of a module's variable that is the app of these entries; None: there is none.

    The desk reads through a copy of an app, which has its entries.
    """
    for name, module in list(sys.modules.items()):
        found = next((key for key, value in _apps(module) if vars(value)["_runtime"].source is source), None)
        if found is not None and (importable := _importable(name, module)):
            return f"{importable}:{found}"
    return None


def _apps(module: object) -> list[tuple[str, Any]]:
    values = vars(module).copy() if isinstance(module, ModuleType) else {}
    return [(name, value) for name, value in values.items() if _is_app(type(value)) and name.isidentifier()]


def _is_app(kind: type) -> bool:
    """Whether objects of a class are apps; by its name, as the class itself imports this module."""
    return any(base.__name__ == "App" and base.__module__ == "tasuki.app.app" for base in kind.__mro__)


def _importable(name: str, module: ModuleType) -> str:
    """The name by which another process imports a module; a script has the name of its file."""
    if name != "__main__":
        return name
    spec, file = module.__spec__, getattr(module, "__file__", None)
    if spec is not None and spec.name != "__main__":
        return spec.name
    return "" if file is None else os.path.splitext(os.path.basename(file))[0]


_log = logging.getLogger("tasuki.dry_run")


_MOST_BYTES = 8 * 2**20
"""Of the entries of one answer."""

LIMIT = 30.0
"""Seconds that a handler has."""


class Trial(NamedTuple):
    """A dry run that can begin: the message, the queue whose consumer gets it, and the order to its process."""

    message: str
    queue: str
    order: dict[str, Any]


def trial_of(live: Assembly, loading: Loading, message: Message, queue: str, now: float) -> Trial:
    """The dry run of a message that is in ``queue``; a dead letter is given to the consumer that it came from.

    Raises:
        HandlerError: no consumer of this project gets it.
    """
    is_dead = DEAD_LETTER_REASON in message.headers
    source = str(message.headers.get(ORIGINAL_QUEUE, queue)) if is_dead else queue
    consumer = _consumer_of(live, source)
    sent = redriven(message, now) if is_dead else Outgoing(message.id, message.body, message.headers)
    headers = {name: value for name, value in sent.headers.items() if name != DUE}
    order: dict[str, Any] = {
        "target": loading.target, "overrides": loading.overrides, "environ": loading.environ, "path": loading.path,
        "consumer": consumer, "id": message.id, "body": message.body, "headers": headers, "priority": sent.priority,
        "key": sent.key, "now": now,
    }  # fmt: skip
    return Trial(message.id, source, order)


async def dry_run(trial: Trial, answer: Answer, *, actor: str, limit: float = LIMIT) -> DryRun:
    """Call the handler in its own process; nothing of the message is settled. ``answer``: see ``entries``."""
    facts = {"message_id": trial.message, "queue": trial.queue, "actor": actor}
    _log.info("dry run of message %s of %s, by %s", trial.message, trial.queue, actor, extra=facts)
    ended = await run_child(trial.order, limit, answer)
    return report_of(
        trial.message, trial.queue, ended.events, output=ended.output, errors=ended.errors, limit=limit,
        death=ended.death,
    )  # fmt: skip


async def entries(live: Assembly, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a store that the process asks for, as many as an answer holds."""
    driver, name, key = (str(asked.get(part, "")) for part in ("driver", "store", "key"))
    if driver not in live.drivers:
        return {"entries": [], "problem": "there is no such driver"}
    try:
        store = await live.opener(driver, name)()
        if asked.get("verb") == "get":
            entry = await store.get(key)
            found = [] if entry is None else [entry]
        else:
            found = list((await store.list(key, limit=MAX_PAGE)).entries)
    except DriverError as error:
        return {"entries": [], "problem": str(error)}
    size, kept = 0, []
    for entry in found:
        size += len(entry.key) + len(entry.value)
        if size > _MOST_BYTES:
            break
        kept.append((entry.key, entry.value))
    return {"entries": kept}


def _consumer_of(live: Assembly, queue: str) -> str:
    """The first consumer of a queue. Raises HandlerError: it has none in this project."""
    for id, config in live.project.of(ConsumerConfig).items():
        if config.queue == queue:
            return id
    problem = f"no consumer of this project gets messages of queue {queue or '(none)'}: there is no handler to call"
    raise HandlerError(problem, kind="NotFound", retryable=False)
