"""Celery: find its apps and tasks, and every place that names them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tasuki.cli.migrate.beat import read_schedules
from tasuki.cli.migrate.calls import is_async, send, send_same
from tasuki.cli.migrate.options import call_of, read_function, read_options, settle_returns, unbind
from tasuki.cli.migrate.project import OldProject, OldTask
from tasuki.cli.migrate.settings import CelerySettings, read_settings
from tasuki.cli.migrate.source import Function, SourceFile, literal

_CANVAS = ("chain", "group", "chord", "signature", "subtask", "xmap", "starmap", "chunks")
_OF_TASK = {
    **dict.fromkeys(
        ("s", "si", "signature", "subtask"),
        "task.with_options(then=other), or app.group([task.message(…)], then=other)",
    ),
    **dict.fromkeys(("map", "starmap", "chunks"), "await jobs.publish_many([task.message(…) for … in …])"),
    "apply": "call the function: task(…)",
    "AsyncResult": "app.sync.jobs.get(id, queue='jobs')",
    "name": "the name of a task is the name of its function",
}
_OF_APP = {
    "control": "tasuki workers, tasuki pause, await app.jobs.cancel(id)",
    "send_task": "import the task and send it",
    "AsyncResult": "app.sync.jobs.get(id, queue='jobs'), with result='1h' at the queue",
    "Task": "middleware or hooks: docs/how-to/around-the-handler.md",
    "signature": "import the task and write task.message(…)",
}
_OF_CELERY = {
    "result": "app.sync.jobs.get(id, queue='jobs'), with result='1h' at the queue",
    "signals": "hooks (@app.on.start, @app.on.failed …) or middleware: docs/how-to/around-the-handler.md",
    "exceptions": "raise tasuki.Retry or tasuki.Reject; the end of a time limit is tasuki.Interrupted",
    "schedules": "@jobs.cron('…') or @jobs.every('…') above the task",
    **dict.fromkeys(_CANVAS, "with_options(then=…), or app.group(…): docs/how-to/groups.md"),
}
CONFIGURING = ("conf", "config_from_object", "autodiscover_tasks", "set_default", "finalize")
HANDLED = ("celery.Celery", "celery.shared_task", "celery.schedules.crontab", "celery.utils.log.get_task_logger")
_PLAIN = frozenset({"int", "str", "float", "bool", "list", "dict", "List", "Dict", "Optional", "Union", "Any", "None"})
_APPS = re.compile(r"(djcelery|django_celery)_?\w*")
_PATCH = re.compile(r"([\w.]+)\.(delay|apply_async|apply|s|si)")


class CeleryProject:
    """A project of Celery. ``settings``: those that queues and schedules need."""

    label = "Celery"
    packages = ("celery",)

    def __init__(self, project: OldProject) -> None:
        self.project = project
        self.apps = dict(self._apps())
        """Origin of each app → the call that makes it, and its file."""
        self._uses: list[tuple[str, SourceFile, ast.AST, str]] = []
        self.settings: CelerySettings = read_settings(project, self.apps)
        for source in project.sources:
            for function in (each for each in ast.walk(source.tree) if isinstance(each, Function)):
                self._read_task(source, function)
        self._ids_are_read = any("celery.result" in name for each in project.sources for name in each.imports.values())
        for source in project.sources:
            for node in ast.walk(source.tree):
                if isinstance(node, ast.Name | ast.Attribute) and not isinstance(source.parents[node], ast.Attribute):
                    self._read_name(source, node)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    self._read_text(source, node, node.value)
        if "task_cls" in self.settings.values:
            self._keep_all(*self.settings.values["task_cls"], "a base class of all tasks")
        read_schedules(project, self.settings)
        settle_returns(project, reads_results=self._ids_are_read)
        self._keep_ids()

    def _keep_ids(self) -> None:
        """Keep tasks whose results are read by the id of a message."""
        for task in self.project.tasks.values():
            if task.returns_id and self._ids_are_read:
                what = "the id of its message is kept, and the project reads results with AsyncResult"
                self.project.note(task.source, task.function, "by hand", what, _OF_CELERY["result"], task)

    @property
    def fields(self) -> str:
        """Of the consumers of the queues."""
        number = self.settings.literal("worker_concurrency")
        return f"concurrency={number}" if isinstance(number, int) else ""

    def anchor(self) -> tuple[SourceFile, tuple[SourceFile, ast.AST | None]]:
        """The file beside which the queues are declared, and the address of the broker."""
        moving = [task.source for task in self.project.tasks.values() if not task.stays]
        django = [each for each in self.project.sources if "INSTALLED_APPS" in each.bound]
        anchor = next(iter([*(source for source, _ in self.apps.values()), *django, *moving]))
        return anchor, self.settings.values.get("broker_url", (anchor, None))

    def left_over(self) -> list[tuple[SourceFile, ast.stmt]]:
        """Statements that make and configure apps which nothing else uses."""
        gone: list[tuple[SourceFile, ast.stmt]] = []
        by_hand = {(place.file, place.line) for place in self.project.places if place.state == "by hand"}
        for app, (source, made) in self.apps.items():
            statements = [(source, self._statement(source, made))]
            for name, where, node, part in self._uses:
                if name == app:
                    statements.append((where, self._statement(where, node) if part in CONFIGURING else None))
            lines = {
                (where.shown, line)
                for where, each in statements
                if each
                for line in range(each.lineno, (each.end_lineno or 0) + 1)
            }
            if not self.project.tasks and not lines & by_hand and all(each for _, each in statements):
                gone += [(where, each) for where, each in dict.fromkeys(statements) if each]
        return gone

    def _statement(self, source: SourceFile, node: ast.AST) -> ast.stmt | None:
        """The statement at the top of a module that has a node, if it is an assignment or a call."""
        found = next((each for each in (node, *source.above(node)) if isinstance(each, ast.Assign | ast.Expr)), None)
        return found if found is not None and isinstance(source.parents[found], ast.Module) else None

    def _apps(self) -> Iterator[tuple[str, tuple[SourceFile, ast.Assign]]]:
        """Names that are a Celery(…), or what a function of the project makes with one."""
        for source in self.project.sources:
            for node in ast.walk(source.tree):
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                    origin = self.project.origin(source, node.value.func)
                    if origin != "celery.Celery" and not self._makes_app(origin):
                        continue
                    for target in node.targets:
                        if isinstance(target, ast.Name):
                            yield f"{source.shown}:{target.id}", (source, node)

    def _makes_app(self, origin: str) -> bool:
        file, _, name = origin.partition(":")
        source = next((each for each in self.project.sources if each.shown == file), None)
        function = source.functions.get(name) if source else None
        return (
            function is not None
            and source is not None
            and any(
                isinstance(node, ast.Call) and self.project.origin(source, node.func) == "celery.Celery"
                for node in ast.walk(function)
            )
        )

    def _read_task(self, source: SourceFile, function: Function) -> None:
        for decorator in function.decorator_list:
            base = decorator.func if isinstance(decorator, ast.Call) else decorator
            origin = self.project.origin(source, base)
            if origin != "celery.shared_task" and not (origin.endswith(".task") and origin[:-5] in self.apps):
                continue
            task = OldTask(source, function, self.settings.default_queue, decorator=decorator)
            self.project.tasks[f"{source.shown}:{function.name}"] = task
            read_function(self.project, task)
            self._read_annotations(task)
            if isinstance(decorator, ast.Call):
                read_options(self.project, task, decorator)
                task.is_bound = any(each.arg == "bind" and literal(each.value) for each in decorator.keywords)
                if task.is_bound:
                    unbind(self.project, task)
            task.queue = self.settings.route(task.name or f"{source.name}.{function.name}", task.queue)

    def _read_annotations(self, task: OldTask) -> None:
        """Arguments that Celery gives as JSON has them, and Tasuki as their annotations say."""
        for each in task.function.args.args:
            names = {name.id for name in ast.walk(each) if isinstance(name, ast.Name)}
            if each.annotation is not None and not names <= _PLAIN:
                what = f"{each.arg}: {task.source.words(each.annotation)}: arguments are converted to their annotations"
                self.project.note(task.source, each, "check", what, "the type that the callers send", task)

    def _read_name(self, source: SourceFile, node: ast.Name | ast.Attribute) -> None:
        origin = self.project.origin(source, node)
        name, _, rest = self._split(origin)
        if name in self.project.tasks:
            self._read_use(source, node, self.project.tasks[name], rest)
        elif name in self.apps:
            self._read_app(source, node, rest)
        elif origin == "celery.utils.log.get_task_logger":
            self._logger(source, node)
        elif origin.startswith(("celery.", "django_celery_beat.")) and origin not in HANDLED:
            part = origin.split(".")[1]
            write = _OF_CELERY.get(part, "see docs/coming-from.md")
            if origin.startswith("django_celery_beat."):
                write = "declare the schedule in code: @jobs.cron('…') above the task; its rows name Celery's tasks"
            self.project.note(source, node, "by hand", origin, write)
        elif ":" not in origin and ".celery." in origin:
            write = "docs/how-to/traces.md, or docs/how-to/around-the-handler.md for Sentry"
            self.project.note(source, node, "check", f"{origin}, which is for Celery", write)
        elif isinstance(node, ast.Attribute) and node.attr in ("delay", "apply_async") and _is_called(source, node):
            what = f"{source.words(node).partition(chr(10))[0]}: its task is unknown"
            self.project.note(source, node, "by hand", what, "task.send(…) of the task, once it is moved")

    def _split(self, origin: str) -> tuple[str, str, str]:
        """File and name, and the attributes after them."""
        file, colon, dotted = origin.partition(":")
        name, _, rest = dotted.partition(".")
        return f"{file}{colon}{name}", "", rest

    def _read_use(self, source: SourceFile, node: ast.Name | ast.Attribute, task: OldTask, rest: str) -> None:
        parent = source.parents[node]
        call = parent if isinstance(parent, ast.Call) and parent.func is node else None
        if not rest and call is not None:
            task.is_called = True
            if task.is_bound:
                self.project.note(source, call, "by hand", "a direct call of a bound task", "", task)
        elif not rest:
            self.project.note(source, node, "by hand", "the task is passed on", "pass task.send, or the function", task)
        elif rest == "delay" and call is not None:
            send_same(self.project, source, call, task)
        elif rest == "delay" and not is_async(source, node):
            assert isinstance(node, ast.Attribute)
            self.project.change(source, (source.end(node.value), source.end(node)), ".send", node, "task.send", task)
        elif rest == "apply_async" and call is not None:
            assert isinstance(node, ast.Attribute)
            arguments, options = call_of(self.project, source, call, task)
            send(self.project, source, call, task, source.words(node.value), arguments, options)
        else:
            self.project.note(source, node, "by hand", f"{task.function.name}.{rest}", _OF_TASK.get(rest, ""), task)

    def _read_app(self, source: SourceFile, node: ast.Name | ast.Attribute, rest: str) -> None:
        part = rest.partition(".")[0]
        if isinstance(node.ctx, ast.Load) or part:
            self._uses.append((self._split(self.project.origin(source, node))[0], source, node, part))
        if part in ("", "task", *CONFIGURING):
            return
        if part == "Task" and isinstance(node.ctx, ast.Store):
            self._keep_all(source, node, "a base class of all tasks")
            return
        write = _OF_APP.get(part, "hooks: @app.on.start, or a schedule above the task: @jobs.every('10s')")
        place = self.project.note(source, node, "by hand", f"{source.words(node)} of Celery's app", write)
        parent = source.parents[node]
        named = (
            literal(parent.args[0]) if part == "send_task" and isinstance(parent, ast.Call) and parent.args else None
        )
        if named and (task := self.settings.task_named(self.project, named)):
            place.task, task.stays = task.function.name, True

    def _keep_all(self, source: SourceFile, node: ast.AST, what: str) -> None:
        """Keep all tasks, as with a base class that gives each of them Flask's context."""
        write = "docs/how-to/flask.md, where tasks have the context, or a hook: docs/how-to/around-the-handler.md"
        self.project.note(source, node, "by hand", what, write)
        for task in self.project.tasks.values():
            task.stays = True

    def _logger(self, source: SourceFile, node: ast.Name | ast.Attribute) -> None:
        self.project.change(source, node, "logging.getLogger", node, "logging.getLogger")
        self.project.needs.setdefault(source, set()).add("logging")

    def _read_text(self, source: SourceFile, node: ast.Constant, text: str) -> None:
        """A test that replaces a method of a task by its name, and an installed app that needs Celery."""
        if _APPS.fullmatch(text) and isinstance(source.parents[node], ast.List | ast.Tuple):
            self.project.note(source, node, "check", f"the installed app {text}", "an app that needs no Celery")
        parent = source.parents[node]
        if (found := _PATCH.fullmatch(text)) and isinstance(parent, ast.Call):
            name = self._split(self.project.follow(found[1]))[0]
            if name in self.project.tasks:
                task = self.project.tasks[name]
                write = "a test with TestApp: t.published(queue); or the same text with .send"
                place = self.project.note(
                    source, node, "by hand", "a test replaces a call of a task by its name", write
                )
                place.task = task.function.name


def _is_called(source: SourceFile, node: ast.AST) -> bool:
    parent = source.parents[node]
    return isinstance(parent, ast.Call) and parent.func is node
