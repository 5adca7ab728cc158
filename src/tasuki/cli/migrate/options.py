"""Options of Celery's tasks and calls, in Tasuki's words; and what else a function may have that does not move."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from tasuki.cli.migrate.calls import split_arguments
from tasuki.cli.migrate.project import OldProject, OldTask
from tasuki.cli.migrate.source import Function, Scope, SourceFile, literal

_DROPPED = frozenset({
    "acks_late", "acks_on_failure_or_timeout", "reject_on_worker_lost", "ignore_result", "track_started", "trail",
    "send_events", "typing", "throws", "store_errors_even_if_ignored", "store_eager_result", "retry_jitter",
    "compression", "bind", "retry", "retry_policy",
})  # fmt: skip
_RETRYING = frozenset({
    "autoretry_for", "dont_autoretry_for", "max_retries", "retry_kwargs", "retry_backoff", "retry_backoff_max",
    "default_retry_delay",
})  # fmt: skip
_BY_HAND = {
    "rate_limit": "give the task a queue of its own: app.queue('mails', limit='10/m'), which counts over all workers",
    "base": "put the code of the base class into middleware or hooks: docs/how-to/around-the-handler.md",
    "priority": "send it with_options(priority=…), 9 first, to a queue with requires=['priority']",
    "expires": "send it with_options(ttl=…)",
    "backend": "keep results in the queue: app.queue('jobs', result='1h')",
    "pydantic": "annotate the parameters: arguments are converted to their annotations",
    "link": "with_options(then=other)",
    "link_error": "with_options(on_error=other)",
    "time_limit": "with_options(handler_timeout=…)",
    "soft_time_limit": "with_options(handler_timeout=…)",
    "on_failure": "@jobs.task(on_give_up=function)",
}
_OF_CALL = {"countdown": "delay", "eta": "at", "task_id": "id", "headers": "headers"}
_OF_SELF = {"request.id": "context.message.id", "request.retries": "(context.attempt - 1)"}
_FALSE = "return False is a failure in Tasuki"
_DELAY, _LONGEST = "180", "600"
"""Seconds: Celery's delay of a retry, and the longest one with retry_backoff."""


def read_options(project: OldProject, task: OldTask, decorator: ast.Call) -> None:
    """Put the options of a task's decorator into its rules; what has no counterpart keeps the task."""
    source = task.source
    given = {each.arg: each.value for each in decorator.keywords if each.arg}
    if decorator.args or len(given) != len(decorator.keywords):
        project.note(source, decorator, "by hand", "options that are computed", "name each option", task)
    for name, value in given.items():
        if name == "name" and isinstance(text := literal(value), str):
            task.name = text
        elif name == "queue" and isinstance(text := literal(project.value(source, value)[1]), str):
            task.queue = text
        elif name == "serializer" and literal(value) in ("json", "msgpack"):
            pass
        elif name in ("time_limit", "soft_time_limit"):
            _limit(project, task, given)
        elif name not in _DROPPED | _RETRYING:
            write = _BY_HAND.get(name, "see docs/coming-from.md")
            project.note(source, value, "by hand", f"the option {name}={source.words(value)}", write, task)
    if (kwargs := given.get("retry_kwargs")) is not None and not isinstance(kwargs, ast.Dict):
        project.note(source, kwargs, "by hand", "retry_kwargs that are computed", "write them as a dict", task)
    if retries := retries_of(source, given):
        task.rules["retry"] = retries
        project.needs.setdefault(source, set()).add("Retries")


def _limit(project: OldProject, task: OldTask, given: Mapping[str, ast.expr]) -> None:
    value = given.get("soft_time_limit", given.get("time_limit"))
    assert value is not None
    task.rules["handler_timeout"] = task.source.words(value)
    for node in ast.walk(task.function):
        if isinstance(node, ast.ExceptHandler) and _catches_all(project, task.source, node):
            write = "with interrupted_as(TimeIsOver): around the code, with an exception class of your own"
            what = "the end of handler_timeout is Interrupted, which this except does not catch"
            project.note(task.source, node, "by hand", what, write, task)


def _catches_all(project: OldProject, source: SourceFile, node: ast.ExceptHandler) -> bool:
    types = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    names = [project.origin(source, each).rpartition(":")[2] for each in types if each]
    return any(each == "Exception" or each.endswith("SoftTimeLimitExceeded") for each in names)


def retries_of(source: SourceFile, given: Mapping[str, ast.expr]) -> str:
    """``Retries(…)`` for the options of a task that retries; empty: an error ends it, as the queue says."""
    if (errors := given.get("autoretry_for")) is None:
        return ""
    texts = {name: source.words(value) for name, value in given.items() if name in _RETRYING}
    if isinstance(kwargs := given.get("retry_kwargs"), ast.Dict):
        named = zip(kwargs.keys, kwargs.values, strict=True)
        texts |= {str(literal(key)): source.words(value) for key, value in named}
    most = texts.get("max_retries", "3")
    parts = ["1_000_000" if most == "None" else str(int(most) + 1) if most.isdecimal() else f"{most} + 1"]
    parts.append(f"on={_tuple(source, errors)}")
    if never := given.get("dont_autoretry_for"):
        parts.append(f"never={_tuple(source, never)}")
    backoff = texts.get("retry_backoff", "False")
    if backoff in ("False", "0"):
        delay = texts.get("countdown", texts.get("default_retry_delay", _DELAY))
        parts += [f"backoff={delay}", f"max_delay={delay}"]
    else:
        parts += [
            f"backoff={'1' if backoff == 'True' else backoff}",
            f"max_delay={texts.get('retry_backoff_max', _LONGEST)}",
        ]
    return f"Retries({', '.join(parts)})"


def _tuple(source: SourceFile, node: ast.expr) -> str:
    if isinstance(node, ast.List):
        return "(" + "".join(f"{source.words(each)}, " for each in node.elts).rstrip() + ")"
    return source.words(node)


def call_of(project: OldProject, source: SourceFile, call: ast.Call, task: OldTask) -> tuple[str, dict[str, str]]:
    """Arguments and options of an ``apply_async``; what has no counterpart keeps the task."""
    names = ("args", "kwargs")
    given = {
        **dict(zip(names, call.args, strict=False)),
        **{each.arg: each.value for each in call.keywords if each.arg},
    }
    if len(call.args) > len(names) or any(each.arg is None for each in call.keywords):
        project.note(source, call, "by hand", "options that are computed", "name each option", task)
    options: dict[str, str] = {}
    for name, value in given.items():
        if name in _OF_CALL:
            options[_OF_CALL[name]] = source.words(value)
        elif name == "expires" and isinstance(literal(value), int | float):
            options["ttl"] = source.words(value)
        elif name == "queue":
            if literal(project.value(source, value)[1]) != task.queue:
                what = f"another queue for one call: {source.words(value)}, and the task has {task.queue!r}"
                project.note(source, value, "by hand", what, "declare a second task, in that queue", task)
        elif name not in _DROPPED | {"args", "kwargs", "serializer", "ignore_result"}:
            write = _BY_HAND.get(name, "see docs/coming-from.md")
            project.note(source, value, "by hand", f"the option {name}={source.words(value)}", write, task)
    return split_arguments(source, given.get("args"), given.get("kwargs")), options


def read_function(project: OldProject, task: OldTask) -> None:
    """Keep a task whose function has what a task of Tasuki cannot have."""
    source, function = task.source, task.function
    if isinstance(source.parents[function], ast.ClassDef) or source.scope_of(function):
        what = "a task within a function or a class"
        project.note(source, function, "by hand", what, "move the function to the top of the module", task)
    for extra in filter(None, (function.args.vararg, function.args.kwarg)):
        write = "take a list, or a dict, in one parameter"
        project.note(source, extra, "by hand", f"the parameter *{extra.arg}", write, task)
    task.false = [node for node in _own(function) if isinstance(node, ast.Return) and literal(node.value) is False]
    if isinstance(function.returns, ast.Name) and function.returns.id == "bool":
        project.note(source, function.returns, "by hand", _FALSE, 'return {"ok": False} in place of False', task)


def settle_returns(project: OldProject, *, reads_results: bool) -> None:
    """Let tasks return None in place of False, if nothing reads it; else they stay."""
    for task in project.tasks.values():
        for node in task.false:
            if task.is_called or reads_results:
                project.note(task.source, node, "by hand", _FALSE, 'return {"ok": False}', task)
            else:
                project.change(task.source, node, "return None", node, "return None: nothing reads the False", task)


def _own(function: Function) -> Iterator[ast.AST]:
    """The nodes of a function without the functions within it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Scope):
            waiting.extend(ast.iter_child_nodes(node))


def unbind(project: OldProject, task: OldTask) -> None:
    """Make the first parameter of a bound task a Context, or remove it; other uses of it keep the task."""
    source, arguments = task.source, task.function.args
    everyone = [*arguments.posonlyargs, *arguments.args]
    if not everyone:
        project.note(source, task.function, "by hand", "bind=True without a parameter", "remove bind=True", task)
        return
    first, used = everyone[0], False
    for node in ast.walk(task.function):
        if not (isinstance(node, ast.Name) and node.id == first.arg):
            continue
        top: ast.AST = node
        names: list[str] = []
        while isinstance(above := source.parents[top], ast.Attribute):
            names.append(above.attr)
            top = above
        dotted = ".".join(names)
        if dotted in _OF_SELF:
            used = True
            project.change(source, top, _OF_SELF[dotted], top, _OF_SELF[dotted], task)
        else:
            _by_hand(project, task, top, dotted)
    if used:
        project.change(source, first, "context: Context", task=task)
        project.needs.setdefault(source, set()).add("Context")
    else:
        end = source.start(everyone[1]) if len(everyone) > 1 else source.end(first)
        project.change(source, (source.start(first), end), "", task=task)


def _by_hand(project: OldProject, task: OldTask, node: ast.AST, dotted: str) -> None:
    source = task.source
    parent = source.parents[node]
    write = "take a parameter context: Context: docs/how-to/around-the-handler.md"
    if dotted == "retry":
        given = {each.arg: source.words(each.value) for each in parent.keywords} if isinstance(parent, ast.Call) else {}
        cause = f" from {given['exc']}" if "exc" in given else ""
        after = (
            f"after={given['countdown']}" if "countdown" in given else f"at={given['eta']}" if "eta" in given else ""
        )
        most = given.get("max_retries", "3")
        attempts = int(most) + 1 if most.isdecimal() else f"{most} + 1"
        write = f"raise Retry({after}){cause}, and @jobs.task(retry=Retries({attempts}, never=(Exception,)))"
    elif dotted == "update_state":
        write = "await context.progress(done, total), with result='1h' at the queue"
    project.note(source, node, "by hand", f"self.{dotted}" if dotted else "self is passed on", write, task)
