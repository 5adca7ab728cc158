"""Bodies: the types of messages and of their handlers' results, for each queue, where the code declares them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any

from tasuki.errors import HandlerError
from tasuki.handlers.body import check_type
from tasuki.handlers.signature import Parameter, Role, body_of, item_of, read_arguments, result_of
from tasuki.kinds.asyncapi.schemas import Schemas
from tasuki.kinds.check.project import Project
from tasuki.kinds.check.python.providers import Provided, problems_of_providers
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.function import PythonFunctionConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.loading import load_function
from tasuki.queues.messages.body_type import BodyType, type_name

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Body:
    """The messages of a queue that have one form: of a task, or of the queue itself (``task`` is empty)."""

    queue: str
    task: str = ""
    type_: Any = Any
    """Any: unknown. Of a task: not used."""
    arguments: tuple[Parameter, ...] | None = None
    """What a task takes, beside injected parameters; None: unknown, or no task."""
    result: Any = Any
    """The type of the reply to a request; Any: unknown, or none."""

    @property
    def id(self) -> tuple[str, str, str]:
        """Its identity among the messages of a document."""
        return "message", self.queue, self.task

    @property
    def name(self) -> str:
        """The task, or the type as the code writes it; empty if unknown."""
        return self.task or ("" if self.type_ is Any else type_name(self.type_))

    @property
    def types(self) -> list[Any]:
        """All types that need a schema."""
        return [self.type_, self.result, *(each.type_ for each in self.arguments or ())]


class Bodies:
    """The bodies of all queues of a project; a dead-letter queue without types of its own has its sources' bodies."""

    def __init__(self, project: Project) -> None:
        self._project = project
        provided = Provided()
        list(problems_of_providers(project.registry, project.configs, provided))
        self._provided = provided.types
        self._functions: dict[str, Any] = {}
        self._consumers: dict[str, list[ConsumerConfig]] = {}
        for consumer in project.of(ConsumerConfig).values():
            self._consumers.setdefault(consumer.queue, []).append(consumer)
        queues = project.of(QueueConfig)
        self._sources: dict[str, list[str]] = {}
        for id, queue in queues.items():
            if queue.dead_letter is not None:
                self._sources.setdefault(queue.dead_letter.queue, []).append(id)
        self._found: dict[str, list[Body]] = {}
        self.own: Mapping[str, list[Body]] = {id: list(self._own(id)) for id in queues}
        """By queue: the bodies that are published to it."""
        self.schemas = Schemas(_distinct(type_ for body in self.all() for type_ in body.types))

    def all(self) -> Iterator[Body]:
        """Each body of a queue once; not the unknown bodies of a queue that has dead letters of known types."""
        for queue, bodies in self.own.items():
            shown = self.of(queue)
            yield from (body for body in bodies if body in shown)

    def of(self, queue: str) -> list[Body]:
        """The bodies that are in a queue: dead letters too, where it has no types of its own."""
        if queue not in self._found:
            own = self.own[queue]
            is_known = any(body.task or body.type_ is not Any for body in own)
            letters = [] if is_known else [body for source in self._sources.get(queue, ()) for body in self.of(source)]
            self._found[queue] = letters or own
        return self._found[queue]

    def sent(self, queue: str, task: str | None = None) -> list[Body]:
        """The bodies of a queue that a publisher sends: of a task, of no task (empty), or all."""
        found = self.of(queue)
        return [body for body in found if body.queue == queue and task in (None, body.task)] or found

    def _own(self, queue: str) -> Iterator[Body]:
        consumers = self._consumers.get(queue, [])
        tasks = {name: task.func for consumer in consumers for name, task in consumer.funcs.items()}
        for name, func in sorted(tasks.items()):
            yield self._of_task(queue, name, func)
        if not tasks or any(consumer.func for consumer in consumers):
            yield self._of_queue(queue, [consumer for consumer in consumers if consumer.func])

    def _of_task(self, queue: str, name: str, func: str) -> Body:
        function = self._function(func)
        arguments = None
        if function is not None:
            try:
                parameters = read_arguments(function, self._provided)
                arguments = tuple(each for each in parameters if each.role is Role.EXTRA)
            except HandlerError as error:
                _log.warning("the arguments of task %r are unknown: %s", name, error)
        return Body(queue, name, arguments=arguments, result=self._result(function))

    def _of_queue(self, queue: str, consumers: list[ConsumerConfig]) -> Body:
        declared = self._project.registry.entries[queue].target
        functions = [(consumer, self._function(consumer.func or "")) for consumer in consumers]
        if isinstance(declared, BodyType):
            type_ = declared.type_
        else:
            read = _distinct(self._read_by(consumer, function) for consumer, function in functions)
            type_ = read[0] if len(read) == 1 else Any
        results = _distinct(self._result(function) for consumer, function in functions if consumer.batch is None)
        return Body(queue, "", type_, result=results[0] if len(results) == 1 else Any)

    def _read_by(self, consumer: ConsumerConfig, function: Any) -> Any:
        type_ = Any if function is None else body_of(function, self._provided)
        if consumer.batch is not None:
            item = item_of(type_)
            return Any if item is None else item
        return type_

    def _result(self, function: Any) -> Any:
        """The type that a handler returns, if a reply can carry it."""
        type_ = Any if function is None or isinstance(function, type) else result_of(function)
        if type_ in (None, NoneType):
            return Any
        try:
            check_type(type_)
        except Exception:  # pydantic raises errors of its own for types that it does not know
            return Any
        return type_

    def _function(self, id: str) -> Any:
        """The Python function of an entry, imported if that is needed to read its annotations; None: there is none.

        Functions with ``isolation: process`` are not imported: their modules belong into their own processes.
        """
        config = self._project.configs.get(id)
        if not isinstance(config, PythonFunctionConfig) or config.isolation == "process":
            return None
        if id not in self._functions:
            try:
                self._functions[id] = load_function(self._project, id)
            except HandlerError as error:
                _log.warning("the types of function %r are unknown: %s", id, error)
                self._functions[id] = None
        return self._functions[id]


def _distinct(types: Any) -> list[Any]:
    """Each type once, in order; not all types can be hashed."""
    found: list[Any] = []
    for type_ in types:
        if type_ not in found:
            found.append(type_)
    return found
