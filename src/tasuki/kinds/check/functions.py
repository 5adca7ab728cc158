"""Checks of Python functions declared in code: handlers, tasks, providers, hooks and middleware."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tasuki.errors import ConfigError, HandlerError, InvalidEntryError, Position
from tasuki.fields.types import Config
from tasuki.handlers.load import prepare
from tasuki.handlers.providing.order import circle_problem, circles, order_of, scope_problem, sync_problem
from tasuki.handlers.providing.provider import Provider, read_provider, type_of
from tasuki.handlers.providing.providers import same_problem
from tasuki.handlers.python import problem_of_batch, problem_of_handler, problem_of_result
from tasuki.handlers.signature import default_problem, describe, is_async, is_generator, place_of, read_parameters
from tasuki.handlers.task import problem_of_give_up, problem_of_task
from tasuki.kinds.check.consumers import roles, roles_in_broken
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.function import HookConfig, MiddlewareConfig, ProviderConfig, PythonFunctionConfig
from tasuki.registry.entry import INJECT, NO_NAME, Entry, Registry, did_you_mean


def problem_at(entry: Entry, function: Any, text: str) -> ConfigError:
    """The error of an entry at the place of its function.

    ``text``: the problem, and after the first ``; `` the remedy; it may begin with the place of the function.
    """
    file, line = place_of(function)
    problem, _, hint = text.removeprefix(f"{file}:{line}: ").partition("; ")
    place = Position(file, line) if file else entry.position()
    return InvalidEntryError(problem, position=place, entry=entry.id, hint=hint)


@dataclass
class Provided:
    """The types that the providers of a project provide, as far as their source shows."""

    types: set[Any] = field(default_factory=set)
    """Types of providers that have another mistake included."""
    known: dict[Any, Provider] = field(default_factory=dict)
    """Those without."""
    is_complete: bool = True
    """False: some are imported only when the project runs."""


def problems_of_providers(
    registry: Registry, configs: Mapping[str, Config], provided: Provided
) -> Iterator[ConfigError]:
    """Every problem of a provider that is declared in code; fills ``provided``."""
    functions: dict[str, Any] = {}
    for id, config in configs.items():
        target = registry.entries[id].target
        if isinstance(config, ProviderConfig) and target is None:
            provided.is_complete = False
        elif isinstance(config, ProviderConfig):
            try:
                provided.types.add(type_of(target))
                functions[id] = target
            except HandlerError as error:
                yield problem_at(registry.entries[id], target, str(error))
    for id, function in functions.items():
        config, entry = configs[id], registry.entries[id]
        assert isinstance(config, ProviderConfig)
        try:
            provider = read_provider(id, function, config.scope, provided.types)
        except HandlerError as error:
            if provided.is_complete:
                yield problem_at(entry, function, str(error))
            continue
        if (other := provided.known.setdefault(provider.type_, provider)) is not provider:
            yield problem_at(entry, function, same_problem(provider, other))
    yield from _of_needs(registry, functions, provided)


def _of_needs(registry: Registry, functions: Mapping[str, Any], provided: Provided) -> Iterator[ConfigError]:
    for circle in circles(provided.known):
        id = circle[0].id
        yield problem_at(registry.entries[id], functions[id], circle_problem(circle))
    for provider in provided.known.values():
        for type_ in provider.needed:
            inner = provided.known.get(type_)
            if inner is not None and (problem := scope_problem(provider, inner)):
                yield problem_at(registry.entries[provider.id], functions[provider.id], problem)


def problems_of_hooks(registry: Registry, configs: Mapping[str, Config]) -> Iterator[ConfigError]:
    """Every problem of a hook."""
    tasks = {name for config in configs.values() if isinstance(config, ConsumerConfig) for name in config.funcs}
    for id, config in configs.items():
        if not isinstance(config, HookConfig):
            continue
        entry = registry.entries[id]
        if entry.target is not None and (problem := _of_hook(entry.target)):
            yield problem_at(entry, entry.target, problem)
        # A process that only publishes knows no tasks.
        if config.task is not None and tasks and config.task not in tasks and config.moment != "publish":
            hint = did_you_mean(config.task, tasks) or f"there are: {', '.join(sorted(tasks))}"
            yield entry.error(f"it is for task {config.task!r}, which no consumer has", ("task",), hint)


def _of_hook(function: Any) -> str:
    if not callable(function):
        return f"{function!r} is no function; decorate a function"
    if is_generator(function):
        return f"{describe(function)} is a generator, which a hook does not run; use await instead of yield"
    try:
        takes_moment(function)
    except TypeError as error:
        return f"{describe(function)} cannot be called as a hook; {error}"
    return ""


def takes_moment(function: Callable[..., Any]) -> bool:
    """Whether a hook is called with the moment. Raises TypeError: it takes more than that."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # a function in C without a signature
        return True
    for args in ((None,), ()):
        try:
            signature.bind(*args)
        except TypeError:
            continue
        return bool(args)
    raise TypeError("a hook takes the moment as its only argument, or nothing")


_MIDDLEWARE = "(body, context, handle) around a handler, or (envelope, publish) around a publish"


def problems_of_functions(registry: Registry, configs: Mapping[str, Config]) -> Iterator[ConfigError]:
    """Every problem of a handler, task, provider, hook or middleware that is declared in code."""
    provided = Provided()
    yield from problems_of_providers(registry, configs, provided)
    yield from problems_of_hooks(registry, configs)
    used_as = {**roles_in_broken(registry, configs), **roles(configs)}
    tasks, lambdas = _tasks_of(registry, configs), _nameless(registry, configs)
    for id, config in configs.items():
        entry = registry.entries[id]
        if entry.target is None:
            continue
        if id in lambdas:
            problem = f"{describe(entry.target)} has no name that the messages of a task can carry; write it with 'def'"
            yield problem_at(entry, entry.target, problem)
        elif isinstance(config, MiddlewareConfig) and (problem := _of_middleware(entry.target)):
            yield problem_at(entry, entry.target, problem)
        elif isinstance(config, PythonFunctionConfig) and provided.is_complete:
            if problem := _of_inject(entry, provided):
                yield problem_at(entry, entry.target, problem)
                continue
            role = used_as.get(id, ("func", ""))[0]
            for problem in _of_function(entry.id, entry.target, role, tasks.get(id), provided):
                yield problem_at(entry, entry.target, problem)


def _tasks_of(registry: Registry, configs: Mapping[str, Config]) -> Mapping[str, Any]:
    """The function of the task, by the id of the function that is called when it is given up."""
    found: dict[str, Any] = {}
    for config in configs.values():
        for task in config.funcs.values() if isinstance(config, ConsumerConfig) else ():
            if task.on_give_up and (entry := registry.get(task.func)) is not None and callable(entry.target):
                found[task.on_give_up] = entry.target
    return found


def _nameless(registry: Registry, configs: Mapping[str, Config]) -> set[str]:
    """The functions of tasks that have no name of their own, and were given none."""
    consumers = [config for config in configs.values() if isinstance(config, ConsumerConfig)]
    functions = [task.func for config in consumers for name, task in config.funcs.items() if name == NO_NAME]
    return {id for id in functions if (entry := registry.get(id)) and _name(entry.target) == "<lambda>"}


def _name(function: object) -> str:
    return str(getattr(function, "__name__", ""))


def _of_inject(entry: Entry, provided: Provided) -> str:
    for type_ in entry.meta.get(INJECT, ()):
        if type_ not in provided.types:
            name = inspect.formatannotation(type_)
            remedy = "declare a provider of that type with @app.provide, or remove it there"
            return f"{describe(entry.target)}: inject names {name}, which nothing provides; {remedy}"
    return ""


def _of_function(id: str, target: Any, role: str, task: Any, provided: Provided) -> Iterator[str]:
    if isinstance(target, type):  # its object is made at the start
        if problem := _of_class(target):
            yield problem
        return
    try:
        function = prepare(target, f"function {id!r}")
    except HandlerError as error:
        yield str(error)
        return
    problem = _of_signature(function, role, task, provided.types)
    if problem:
        yield problem
        return
    try:
        parameters = read_parameters(function, provided.types)
        order = order_of([each.type_ for each in parameters if each.type_ in provided.known], provided.known)
    except (HandlerError, TypeError):  # a circle, or a scope that does not fit: reported at the provider
        return
    for parameter in parameters:
        if problem := default_problem(function, parameter):
            yield problem
    if not is_async(function) and (problem := sync_problem(describe(function), order)):
        yield problem


def _of_signature(function: Any, role: str, task: Any, types: Container[Any]) -> str:
    if role == "on_give_up":
        return problem_of_give_up(function, task, types) if task is not None else ""
    if role == "task":
        return problem_of_task(function, types)
    problem = problem_of_handler(function, types)
    if role == "batch" and not problem:
        problem = problem_of_batch(function, types) or problem_of_result(function)
    return problem


def _of_class(target: type) -> str:
    if "__call__" not in {key for base in target.__mro__[:-1] for key in vars(base)}:
        return f"class {target.__qualname__!r} is no function; decorate a function, or give the class a method __call__"
    try:
        inspect.signature(target).bind()
    except (TypeError, ValueError) as error:
        remedy = "make the object yourself, and declare that"
        return f"class {target.__qualname__!r} is made without arguments, and that fails: {error}; {remedy}"
    return ""


def _of_middleware(function: Any) -> str:
    if not is_async(function):
        return f"{describe(function)} is no async function, as a middleware must be; write it with 'async def'"
    try:
        signature = inspect.signature(function)
        for taken in (3, 2):
            try:
                signature.bind(*[None] * taken)
            except TypeError:
                continue
            return ""
    except ValueError:
        return ""
    return f"{describe(function)} cannot be called as a middleware; it takes {_MIDDLEWARE}"
