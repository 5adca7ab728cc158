"""RQ: find its queues, the functions that are enqueued in them, and every other place that names it."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tasuki.cli.migrate.calls import is_async, send, send_same, split_arguments
from tasuki.cli.migrate.options import read_function, settle_returns
from tasuki.cli.migrate.project import OldProject, OldTask
from tasuki.cli.migrate.settings import CelerySettings
from tasuki.cli.migrate.source import Function, SourceFile, literal

_QUEUES = ("rq.Queue", "rq.queue.Queue")
_GETTERS = ("django_rq.get_queue", "flask_rq.get_queue", "django_rq.queues.get_queue")
_JOBS = ("rq.decorators.job", "django_rq.job", "django_rq.decorators.job", "flask_rq.job")
_VERBS = {"enqueue": 0, "enqueue_call": 0, "enqueue_in": 1, "enqueue_at": 1}
"""Verb → the place of the function among its arguments."""
_OPTIONS = {"job_id": "id", "ttl": "ttl", "job_timeout": "handler_timeout", "timeout": "handler_timeout"}
_DROPPED = ("result_ttl", "failure_ttl", "description", "connection")
_BY_HAND = {
    "depends_on": "with_options(then=other) at the first one",
    "at_front": "with_options(priority=9), with requires=['priority'] at the queue",
    "on_failure": "@jobs.task(on_give_up=function)",
    "on_success": "with_options(then=other)",
    "meta": "await context.progress(done, total), or headers",
    "repeat": "a schedule above the task: @jobs.every('10m')",
    "retry": "with_options(retries=Retries(4, backoff=…, max_delay=…))",
    "job_timeout": "with_options(handler_timeout=…); a consumer without handler_timeout has no limit",
}
_OF_RQ = {
    "get_current_job": "take a parameter context: Context: context.message.id, await context.progress(…)",
    "Worker": "tasuki run",
    "SimpleWorker": "tasuki run",
    "Connection": "App(url)",
    "job": "app.sync.jobs.get(id, queue='default'), with result='1h' at the queue",
    "registry": "tasuki queues, tasuki dead",
    "timeouts": "with interrupted_as(TimeIsOver): the end of handler_timeout is Interrupted",
    "scheduler": "a schedule above the task: @jobs.cron('…')",
    "rq_scheduler": "a schedule above the task: @jobs.cron('…')",
}
_TIMEOUT = 180
"""Seconds: the default of RQ for a job."""


@dataclass(eq=False)
class _Enqueued:
    """A call that enqueues a function; ``function``: its origin, empty: unknown."""

    source: SourceFile
    call: ast.Call
    verb: str
    queue: str | None
    function: str


class RQ:
    """A project of RQ."""

    label = "RQ"
    packages = ("rq", "django_rq", "flask_rq", "rq_scheduler")
    fields = f"concurrency=1, handler_timeout={_TIMEOUT}"

    def __init__(self, project: OldProject) -> None:
        self.project = project
        self.apps: dict[str, object] = {}
        self.settings = CelerySettings()
        self._files = {source.shown: source for source in project.sources}
        self._attributes = self._read_attributes()
        self._read_decorators()
        calls = [found for source in project.sources for found in self._calls(source)]
        self._declare(calls)
        for found in calls:
            self._rewrite(found)
        for source in project.sources:
            for node in ast.walk(source.tree):
                if isinstance(node, ast.Name | ast.Attribute) and not isinstance(source.parents[node], ast.Attribute):
                    self._read_name(source, node)
        reads_jobs = any(name.startswith("rq.job") for each in project.sources for name in each.imports.values())
        settle_returns(project, reads_results=reads_jobs)
        for task in project.tasks.values():
            if task.returns_id and reads_jobs:
                what = "the id of its message is kept, and the project fetches jobs"
                project.note(task.source, task.function, "by hand", what, _OF_RQ["job"], task)

    def anchor(self) -> tuple[SourceFile, tuple[SourceFile, ast.AST | None]]:
        """The file beside which the queues are declared, and the address of Redis."""
        moving = [task.source for task in self.project.tasks.values() if not task.stays]
        for source in self.project.sources:
            for node in ast.walk(source.tree):
                if isinstance(node, ast.Call) and self._is_queue(source, node):
                    given = (each.value for each in node.keywords if each.arg == "connection")
                    return moving[0], self._address(source, next(given, None))
        return moving[0], (moving[0], None)

    def left_over(self) -> list[tuple[SourceFile, ast.stmt]]:
        """Queues that nothing uses."""
        used, local = set(), set()
        for source in self.project.sources:
            for node in ast.walk(source.tree):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    used.add(self.project.origin(source, node))
                    local.add((source.scope_of(node), node.id))
        gone: list[tuple[SourceFile, ast.stmt]] = []
        for source in self.project.sources:
            for node in ast.walk(source.tree):
                if not (isinstance(node, ast.Assign) and self._is_queue(source, node.value)):
                    continue
                target, scope = node.targets[0], source.scope_of(node)
                if not isinstance(target, ast.Name) or (scope, target.id) in local:
                    continue
                if scope is not None or f"{source.shown}:{target.id}" not in used:
                    gone.append((source, node))
        return gone

    def _is_queue(self, source: SourceFile, node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and self.project.origin(source, node.func) in _QUEUES

    def _address(self, source: SourceFile, node: ast.AST | None) -> tuple[SourceFile, ast.AST | None]:
        source, node = self.project.value(source, node)
        if not isinstance(node, ast.Call):
            return source, node
        origin = self.project.origin(source, node.func)
        if origin.endswith("from_url") and node.args:
            return source, node.args[0]
        if origin in ("redis.Redis", "redis.StrictRedis"):
            given = {
                **dict(zip(("host", "port", "db"), node.args, strict=False)),
                **{str(each.arg): each.value for each in node.keywords},
            }
            values = {name: literal(value) for name, value in given.items()}
            if given.keys() <= {"host", "port", "db", "decode_responses"} and ... not in values.values():
                host, port, db = values.get("host", "localhost"), values.get("port", 6379), values.get("db", 0)
                return source, ast.Constant(f"redis://{host}:{port}/{db}")
        return source, node

    def _read_attributes(self) -> dict[str, set[str | None]]:
        """Attribute → the queues that are assigned to it anywhere, as in ``app.task_queue = Queue(…)``."""
        found: dict[str, set[str | None]] = defaultdict(set)
        for source in self.project.sources:
            for node in ast.walk(source.tree):
                target = (
                    node.targets[0] if isinstance(node, ast.Assign) and self._is_queue(source, node.value) else None
                )
                if isinstance(node, ast.Assign) and isinstance(target, ast.Attribute):
                    found[target.attr].add(self._queue(source, node.value))
        return found

    def _queue(self, source: SourceFile, node: ast.AST | None, depth: int = 0) -> str | None:
        """The name of the queue that an expression is; None: unknown."""
        if depth > 5 or node is None:
            return None
        if isinstance(node, ast.Call):
            origin = self.project.origin(source, node.func)
            if origin in _QUEUES + _GETTERS:
                name = next(
                    (each.value for each in node.keywords if each.arg == "name"), node.args[0] if node.args else None
                )
                text = "default" if name is None else literal(self.project.value(source, name)[1])
                return text if isinstance(text, str) else None
            file, _, called = origin.partition(":")
            function = self._files[file].functions.get(called) if file in self._files else None
            returned = [each for each in ast.walk(function) if isinstance(each, ast.Return)] if function else []
            return self._queue(self._files[file], returned[0].value, depth + 1) if len(returned) == 1 else None
        if isinstance(node, ast.Name) and source.is_local(node):
            scope = source.scope_of(node)
            values = [
                each.value
                for each in ast.walk(scope or source.tree)
                if isinstance(each, ast.Assign)
                and isinstance(each.targets[0], ast.Name)
                and each.targets[0].id == node.id
            ]
            return self._queue(source, values[0], depth + 1) if len(values) == 1 else None
        where, value = self.project.value(source, node)
        if value is not node:
            return self._queue(where, value, depth + 1)
        if isinstance(node, ast.Attribute) and len(names := self._attributes.get(node.attr, set())) == 1:
            return next(iter(names))
        return None

    def _read_decorators(self) -> None:
        for source in self.project.sources:
            for function in (each for each in ast.walk(source.tree) if isinstance(each, Function)):
                for decorator in function.decorator_list:
                    call = decorator if isinstance(decorator, ast.Call) else None
                    if self.project.origin(source, call.func if call else decorator) not in _JOBS:
                        continue
                    given = {each.arg: each.value for each in call.keywords} if call else {}
                    name = call.args[0] if call and call.args else given.pop("queue", None)
                    queue = "default" if name is None else literal(self.project.value(source, name)[1])
                    queue = queue if isinstance(queue, str) else self._queue(source, name)
                    task = self._task(source, function, queue or "default", decorator)
                    if queue is None:
                        self.project.note(source, decorator, "by hand", "a queue that is computed", "@jobs.task", task)
                    self._read_rules(task, given)

    def _read_rules(self, task: OldTask, given: dict[str | None, ast.expr]) -> None:
        for name, value in given.items():
            retries = self._retries(task.source, value) if name == "retry" else ""
            if name == "timeout" and literal(value) != -1:
                task.rules["handler_timeout"] = task.source.words(value)
            elif retries:
                task.rules["retry"] = retries
            elif name not in _DROPPED:
                what = f"the option {name}={task.source.words(value)}"
                self.project.note(task.source, value, "by hand", what, _BY_HAND.get(str(name), ""), task)

    def _task(self, source: SourceFile, function: Function, queue: str, decorator: ast.expr | None = None) -> OldTask:
        task = OldTask(source, function, queue, decorator=decorator)
        self.project.tasks[f"{source.shown}:{function.name}"] = task
        read_function(self.project, task)
        bare = [each.arg for each in function.args.args if each.annotation is None]
        if bare and not task.stays:
            what = f"arguments without a type: {', '.join(bare)}; RQ pickles them, here they are JSON"
            self.project.note(source, function, "check", what, f"annotate them, as in {bare[0]}: str", task)
        return task

    def _calls(self, source: SourceFile) -> Iterator[_Enqueued]:
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Call):
                continue
            if self.project.origin(source, node.func) == "django_rq.enqueue":
                yield _Enqueued(source, node, "enqueue", "default", self._function(source, node, 0))
            elif isinstance(node.func, ast.Attribute) and node.func.attr in _VERBS:
                queue, verb = self._queue(source, node.func.value), node.func.attr
                yield _Enqueued(source, node, verb, queue, self._function(source, node, _VERBS[verb]))

    def _function(self, source: SourceFile, call: ast.Call, place: int) -> str:
        named = next((each.value for each in call.keywords if each.arg in ("f", "func")), None)
        given = call.args[place] if len(call.args) > place else named
        text = literal(given)
        origin = (
            self.project.follow(text) if isinstance(text, str) else self.project.origin(source, given) if given else ""
        )
        file, _, name = origin.partition(":")
        return origin if file in self._files and name in self._files[file].functions else ""

    def _declare(self, calls: list[_Enqueued]) -> None:
        """Make a task of each function that is enqueued; in two queues it stays."""
        queues: dict[str, set[str]] = defaultdict(set)
        for found in calls:
            queues[found.function].add(found.queue or "default")
        for function, names in queues.items():
            if not function:
                continue
            file, _, name = function.partition(":")
            task = self.project.tasks.get(function)
            if task is None:
                task = self._task(self._files[file], self._files[file].functions[name], min(names))
            if names - {task.queue}:
                what = f"is enqueued in several queues: {', '.join(sorted({*names, task.queue}))}"
                self.project.note(task.source, task.function, "by hand", what, "declare a task in each queue", task)

    def _rewrite(self, found: _Enqueued) -> None:
        source, call, project = found.source, found.call, self.project
        task = project.tasks.get(found.function)
        if task is None or found.queue is None:
            what = "its queue is unknown" if task else "its function is unknown"
            project.note(
                source, call, "by hand", f"{found.verb}(…): {what}", "@jobs.task above it, and task.send(…)", task
            )
            return
        options, plain, named = self._options(found, task)
        begin = _VERBS[found.verb] + 1
        if found.verb in ("enqueue_in", "enqueue_at"):
            options = {"delay" if found.verb == "enqueue_in" else "at": source.words(call.args[0]), **options}
        given = [source.words(each) for each in call.args[begin:]] + plain
        if text := split_arguments(source, named.get("args"), named.get("kwargs")):
            given.append(text)
        target = self._target(found, task)
        if target:
            send(project, source, call, task, target, ", ".join(given), options)

    def _target(self, found: _Enqueued, task: OldTask) -> str:
        """How the file names the task; a function that is given as a text is imported."""
        source, call = found.source, found.call
        place = _VERBS[found.verb]
        given = (
            call.args[place]
            if len(call.args) > place
            else next(each.value for each in call.keywords if each.arg in ("f", "func"))
        )
        if not isinstance(given, ast.Constant):
            return source.words(given)
        name = task.function.name
        if source is task.source:
            return name
        if name not in source.imports:
            self.project.note(
                source,
                given,
                "by hand",
                "the function is given as a text",
                f"from {task.source.name} import {name}",
                task,
            )
            return ""
        return name

    def _options(self, found: _Enqueued, task: OldTask) -> tuple[dict[str, str], list[str], dict[str, ast.expr]]:
        """Options of the message, arguments by name, and ``args`` and ``kwargs``."""
        source = found.source
        options: dict[str, str] = {}
        plain: list[str] = []
        packed: dict[str, ast.expr] = {}
        for each in found.call.keywords:
            name, text = each.arg, source.words(each.value)
            if name in ("args", "kwargs"):
                packed[name] = each.value
            elif name in _DROPPED or (name in ("f", "func") and len(found.call.args) <= _VERBS[found.verb]):
                pass
            elif name == "retry" and (retries := self._retries(source, each.value)):
                options["retries"] = retries
            elif name in _OPTIONS and literal(each.value) != -1 and (name != "timeout" or found.verb == "enqueue_call"):
                if literal(each.value) is not None:
                    options[_OPTIONS[name]] = text
            elif name in _BY_HAND:
                self.project.note(source, each.value, "by hand", f"the option {name}={text}", _BY_HAND[name], task)
            else:
                plain.append(f"**{text}" if name is None else f"{name}={text}")
        return options, plain, packed

    def _retries(self, source: SourceFile, node: ast.expr) -> str:
        """``Retries(…)`` for a ``Retry(…)`` with literal numbers; empty: for any other."""
        if not isinstance(node, ast.Call) or self.project.origin(source, node.func) not in ("rq.Retry", "rq.job.Retry"):
            return ""
        given = {
            **dict(zip(("max", "interval"), node.args, strict=False)),
            **{str(each.arg): each.value for each in node.keywords},
        }
        most, interval = literal(given.get("max")), literal(given.get("interval", ast.Constant(0)))
        if not isinstance(most, int) or not isinstance(interval, int):
            return ""
        self.project.needs.setdefault(source, set()).add("Retries")
        return f"Retries({most + 1}, backoff={interval}, max_delay={interval})" if interval else f"Retries({most + 1})"

    def _read_name(self, source: SourceFile, node: ast.Name | ast.Attribute) -> None:
        origin = self.project.origin(source, node)
        file, _, dotted = origin.partition(":")
        name, _, rest = dotted.partition(".")
        task = self.project.tasks.get(f"{file}:{name}")
        parent = source.parents[node]
        if task is not None and not rest and isinstance(parent, ast.Call) and parent.func is node:
            task.is_called = True
        elif task is not None and rest == "delay" and isinstance(parent, ast.Call) and not is_async(source, node):
            send_same(self.project, source, parent, task)
        elif task is not None and rest:
            self.project.note(source, node, "by hand", f"{name}.{rest}", "task.send(…)", task)
        elif (part := origin.split(".")[0]) in self.packages and origin not in (
            "rq.Retry",
            "rq.job.Retry",
            *_QUEUES,
            *_GETTERS,
            *_JOBS,
            "django_rq.enqueue",
        ):
            key = origin.split(".")[1] if part == "rq" and "." in origin else part
            around = next((each for each in source.above(node) if isinstance(each, Function)), None)
            inside = self.project.tasks.get(f"{source.shown}:{around.name}") if around else None
            self.project.note(source, node, "by hand", origin, _OF_RQ.get(key, "see docs/coming-from.md"), inside)
        elif self._is_verb_of_queue(source, node):
            what = f"{source.words(node)} of a queue"
            self.project.note(source, node, "by hand", what, "tasuki queues, app.dead")

    def _is_verb_of_queue(self, source: SourceFile, node: ast.Name | ast.Attribute) -> bool:
        if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Load) or node.attr in _VERBS:
            return False
        return self._queue(source, node.value) is not None
