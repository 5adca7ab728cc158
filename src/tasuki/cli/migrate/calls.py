"""Calls that send a task: the new call, and what its caller does with the result."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from tasuki.cli.migrate.project import OldProject, OldTask
from tasuki.cli.migrate.source import SourceFile, literal

IDS = ("id", "task_id", "get_id")


def send(
    project: OldProject,
    source: SourceFile,
    call: ast.Call,
    task: OldTask,
    target: str,
    arguments: str,
    options: Mapping[str, str],
) -> None:
    """Plan the new text of a call that sends a task, unless something around it has no counterpart."""
    if not _fits(project, source, call, task):
        return
    given = ", ".join(f"{name}={value}" for name, value in options.items())
    head, verb, tail = _frame(source, call)
    new = f"{target}.with_options({given})" if options else target
    project.change(source, call, f"{head}{new}.{verb}({arguments}){tail}", call, f"{target}.{verb}(…)", task)


def send_same(project: OldProject, source: SourceFile, call: ast.Call, task: OldTask) -> None:
    """Plan the same for a call whose arguments stay as they are: only its verb changes."""
    assert isinstance(call.func, ast.Attribute)
    if not _fits(project, source, call, task):
        return
    head, verb, tail = _frame(source, call)
    start, end = source.start(call), source.end(call)
    what = f"{source.words(call.func.value)}.{verb}(…)"
    project.change(source, (source.end(call.func.value), source.end(call.func)), f".{verb}", call, what, task)
    for at, text in ((start, head), (end, tail)):
        if text:
            project.change(source, (at, at), text, task=task)


def is_async(source: SourceFile, node: ast.AST) -> bool:
    """Whether a node is run by an event loop."""
    return isinstance(source.scope_of(node), ast.AsyncFunctionDef)


def _frame(source: SourceFile, call: ast.Call) -> tuple[str, str, str]:
    """The text before a call, its verb, and the text after it."""
    if not is_async(source, call):
        return "", "send", ""
    bare = isinstance(source.parents.get(call), ast.Expr | ast.Assign | ast.Return)
    return ("await ", "publish", "") if bare else ("(await ", "publish", ")")


def _fits(project: OldProject, source: SourceFile, call: ast.Call, task: OldTask) -> bool:
    """Whether its place takes another call: not within an f-string, and its result is used as we can follow."""
    name = task.function.name
    around = list(source.above(call))
    if any(isinstance(each, ast.JoinedStr) for each in around):
        project.note(source, call, "by hand", "a call within an f-string", "assign the job to a name before", task)
    elif isinstance(source.scope_of(call), ast.Lambda) and any(
        isinstance(each, ast.AsyncFunctionDef) for each in around
    ):
        project.note(source, call, "by hand", "a lambda within an async function", f"await {name}.publish(…)", task)
    elif node := next(_unknown_uses(project, source, call, task), None):
        text = source.words(node).partition("\n")[0]
        write = f"app.sync.run({name}.request(…)), or job.result(timeout=…) with result='1h' at the queue"
        project.note(source, node, "by hand", f"the result is used: {text}", write, task)
    else:
        if any(_is_atomic(project, source, each) for each in around) and project.is_django:
            project.note(
                source, call, "check", "a publish inside atomic: the message is now sent after the commit", "", task
            )
        return True
    return False


def _unknown_uses(project: OldProject, source: SourceFile, call: ast.Call, task: OldTask) -> Iterator[ast.AST]:
    """Uses of the result other than its id."""
    parent = source.parents.get(call)
    if isinstance(parent, ast.Expr | ast.Lambda | ast.ListComp) or (
        isinstance(parent, ast.Await) and isinstance(source.parents.get(parent), ast.Expr)
    ):
        return
    if isinstance(parent, ast.Attribute):
        yield from _of_attribute(project, source, parent, task)
    elif isinstance(parent, ast.Assign) and isinstance(target := parent.targets[0], ast.Name):
        scope = source.scope_of(call) or source.tree
        for node in ast.walk(scope):
            if isinstance(node, ast.Name) and node.id == target.id and isinstance(node.ctx, ast.Load):
                above = source.parents[node]
                if isinstance(above, ast.Attribute):
                    yield from _of_attribute(project, source, above, task)
                else:
                    yield above if isinstance(above, ast.expr) else node
    else:
        yield call


def _of_attribute(project: OldProject, source: SourceFile, node: ast.Attribute, task: OldTask) -> Iterator[ast.AST]:
    parent = source.parents[node]
    if node.attr not in IDS or (node.attr == "get_id" and not isinstance(parent, ast.Call)):
        yield parent if isinstance(parent, ast.Call) and parent.func is node else node
        return
    task.returns_id = True
    if node.attr != "id":
        end = source.end(parent if node.attr == "get_id" else node)
        project.change(source, (source.end(node.value), end), ".id", task=task)


def _is_atomic(project: OldProject, source: SourceFile, node: ast.AST) -> bool:
    if isinstance(node, ast.With):
        items = [item.context_expr for item in node.items]
    elif isinstance(node, ast.FunctionDef):
        items = node.decorator_list
    else:
        return False
    names = (project.origin(source, each.func if isinstance(each, ast.Call) else each) for each in items)
    return any(name.endswith("transaction.atomic") for name in names)


def split_arguments(source: SourceFile, positional: ast.expr | None, named: ast.expr | None) -> str:
    """The arguments of a direct call, from ``args=(4, 4)`` and ``kwargs={"as_json": True}``."""
    parts: list[str] = []
    if isinstance(positional, ast.Tuple | ast.List):
        parts += [source.words(each) for each in positional.elts]
    elif positional is not None and is_given(positional):
        parts.append(f"*{source.words(positional)}")
    pairs = list(zip(named.keys, named.values, strict=True)) if isinstance(named, ast.Dict) else []
    names = [str(literal(key)) for key, _ in pairs]
    if isinstance(named, ast.Dict) and all(name.isidentifier() for name in names):
        parts += [f"{name}={source.words(value)}" for name, (_, value) in zip(names, pairs, strict=True)]
    elif named is not None and is_given(named):
        parts.append(f"**{source.words(named)}")
    return ", ".join(parts)


def is_given(node: ast.expr) -> bool:
    """Whether an argument is anything but None."""
    return not (isinstance(node, ast.Constant) and node.value is None)
