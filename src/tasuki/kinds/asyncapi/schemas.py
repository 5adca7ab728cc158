"""JSON Schemas of the types of bodies, by msgspec or pydantic, for AsyncAPI: draft 7, in one place."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from types import NoneType
from typing import Any, TypeVar

import msgspec

from tasuki.errors import HandlerError
from tasuki.handlers.body import check_type, uses_pydantic
from tasuki.handlers.signature import Parameter, Role, body_of, item_of, read_arguments, result_of
from tasuki.kinds.check.functions import Provided, problems_of_providers
from tasuki.kinds.check.project import Project
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.function import PythonFunctionConfig
from tasuki.kinds.entries.queue import QueueConfig
from tasuki.kinds.functions import load_function
from tasuki.observe.redact import is_secret_name, redact
from tasuki.queues.messages.body_type import BodyType, type_name

_log = logging.getLogger(__name__)


Schema = dict[str, Any]


PLACE = "#/components/schemas/"

HEADERS = "TasukiHeaders"
"""The wanted key of the schema of headers, which no type takes from it."""

_BYTES: Schema = {"type": "string", "format": "binary"}

_OF_SCHEMA = (
    "items",
    "additionalItems",
    "additionalProperties",
    "not",
    "contains",
    "propertyNames",
    "if",
    "then",
    "else",
)

_OF_LIST = ("anyOf", "oneOf", "allOf", "prefixItems")

_OF_MAPPING = ("properties", "patternProperties")

_OF_AUTHOR = ("default", "examples", "description")
"""Texts of the user's code, in which a secret may stand."""

_Definition = tuple[str, str]
"""The library that made a definition, and its name there."""


class Schemas:
    """The schemas of a list of types; each class has one place, to which all others refer."""

    def __init__(self, types: Sequence[Any]) -> None:
        self._types = list(types)
        libraries = [_library(type_) for type_ in types]
        found: dict[int, tuple[str, Schema]] = {}
        definitions: dict[_Definition, Schema] = {}
        for library, make in _MAKERS.items():
            own = [index for index, chosen in enumerate(libraries) if chosen == library]
            schemas, defined = make([types[index] for index in own]) if own else ([], {})
            found.update({index: (library, schema) for index, schema in zip(own, schemas, strict=True)})
            definitions.update({(library, name): schema for name, schema in defined.items()})
        own_key = ("tasuki", HEADERS)
        keys = keys_of({own_key: HEADERS, **{definition: definition[1] for definition in definitions}})
        self.headers_key = keys.pop(own_key)
        self._schemas = {index: _Writer(library, keys).schema(schema) for index, (library, schema) in found.items()}
        self.components = {
            key: _Writer(definition[0], keys).schema(definitions[definition])
            for definition, key in sorted(keys.items(), key=lambda item: item[1])
        }
        """Key → schema, in the order of the keys."""

    def of(self, type_: Any) -> Schema | None:
        """The schema of one of the types; None: any value, or a type that no schema describes."""
        if type_ is bytes:
            return _BYTES
        return self._schemas.get(self._types.index(type_)) if type_ in self._types else None


def plain_default(name: str, value: Any) -> Any:
    """A default as JSON; UNSET: it must not be shown, or is nothing that JSON carries."""
    if is_secret_name(name):
        return msgspec.UNSET
    try:
        return _without_secrets(json.loads(json.dumps(msgspec.to_builtins(value, str_keys=True), allow_nan=False)))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return msgspec.UNSET


def _library(type_: Any) -> str:
    """The library that describes a type; empty: neither does, as they have no schema of some types that they read.

    pydantic describes dataclasses too, also where msgspec fails because a default is a path.
    """
    problem = ""
    for library in () if type_ is Any or type_ is bytes else _MAKERS:
        if library == "msgspec" and uses_pydantic(type_):
            continue
        try:
            _MAKERS[library]([type_])
        except Exception as error:  # each library has its own errors for this, and hooks of a type raise any other
            problem = problem or str(error).partition("\n")[0]
        else:
            return library
    if problem:
        _log.warning("no JSON Schema describes %s: %s", type_name(type_), problem)
    return ""


def _of_msgspec(types: Sequence[Any]) -> tuple[list[Schema], dict[str, Schema]]:
    schemas, definitions = msgspec.json.schema_components(types, schema_hook=_custom, ref_template=PLACE + "{name}")
    return list(schemas), definitions


def _custom(type_: type) -> Schema:
    """A type with a converter, or a path; only the converter knows the plain form."""
    return {"type": "string", "format": "path"} if issubclass(type_, PurePath) else {"title": type_.__name__}


def _of_pydantic(types: Sequence[Any]) -> tuple[list[Schema], dict[str, Schema]]:
    import warnings

    from pydantic import TypeAdapter

    inputs = [(str(index), "validation", TypeAdapter(type_)) for index, type_ in enumerate(types)]
    with warnings.catch_warnings(action="ignore"):  # a default that JSON cannot carry is left out
        schemas, defined = TypeAdapter.json_schemas(inputs, ref_template=PLACE + "{model}")  # type: ignore[arg-type]
    return [schemas[str(index), "validation"] for index in range(len(types))], defined.get("$defs", {})


_MAKERS: Mapping[str, Callable[[Sequence[Any]], tuple[list[Schema], dict[str, Schema]]]] = {
    "msgspec": _of_msgspec,
    "pydantic": _of_pydantic,
}


class _Writer:
    """Rewrites schemas of draft 2020-12 as draft 7, with the keys of this document in their references."""

    def __init__(self, library: str, keys: Mapping[_Definition, str]) -> None:
        self._places = {PLACE + name: PLACE + key for (by, name), key in keys.items() if by == library}

    def schema(self, schema: Any, name: str = "") -> Any:
        """One schema; ``name``: the property that it is of."""
        if not isinstance(schema, dict):  # true, false
            return schema
        written = {}
        for word, value in schema.items():
            if (shown := self._value(word, value, name)) is not msgspec.UNSET:
                written[word] = shown
        if written.get("writeOnly"):
            written.pop("default", None)  # of a secret: stars
        return _with_items_of_draft_7(written)

    def _value(self, word: str, value: Any, name: str) -> Any:
        """The value of one word of a schema; UNSET: it is left out."""
        if word == "$ref":
            return self._places.get(value, value)
        if word == "discriminator" and isinstance(value, dict):  # as OpenAPI writes it
            return value.get("propertyName", "")
        if word in _OF_SCHEMA:
            return self.schema(value)
        if word in _OF_LIST:
            return [self.schema(each) for each in value]
        if word in _OF_MAPPING:
            return {inner: self.schema(each, inner) for inner, each in value.items()}
        if word in _OF_AUTHOR:
            return plain_default("" if word == "description" else name, value)
        return value


def _with_items_of_draft_7(schema: Schema) -> Schema:
    if "prefixItems" not in schema:
        return schema
    rest = {"additionalItems": schema["items"]} if "items" in schema else {}
    others = {word: value for word, value in schema.items() if word not in ("items", "prefixItems")}
    return {**others, "items": schema["prefixItems"], **rest}


def _without_secrets(value: Any) -> Any:
    """Plain data whose texts show no password of a URL, and whose fields of telling names are left out."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_without_secrets(each) for each in value]
    if isinstance(value, dict):
        return {name: _without_secrets(each) for name, each in value.items() if not is_secret_name(str(name))}
    return value


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


K = TypeVar("K", bound=Hashable)


LONGEST = 80
"""Characters of a key."""

_MARK = 8

_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,80}", re.ASCII)

_OTHER = re.compile(r"[^A-Za-z0-9._-]+", re.ASCII)


def keys_of(wanted: Mapping[K, str]) -> dict[K, str]:
    """A key for each object: ``app.mails`` for the wanted ``app:mails``. No two objects get the same key.

    A text with other characters than letters, digits, ``.``, ``_`` and ``-``, a text longer than 80 characters, and a
    text that two objects want get a part of the hash of the object's identity. So a key changes only with its object,
    or when another object wants the same text.
    """
    texts = {id: text.replace(":", ".") for id, text in wanted.items()}
    counts = Counter(texts.values())
    keys = {id: text for id, text in texts.items() if counts[text] == 1 and _PLAIN.fullmatch(text)}
    taken = set(keys.values())
    for id, text in texts.items():
        if id not in keys:
            keys[id] = _marked(text, repr(id), taken)
            taken.add(keys[id])
    return {id: keys[id] for id in wanted}


def _marked(text: str, identity: str, taken: set[str]) -> str:
    digest = hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()
    plain = _OTHER.sub("_", text)
    marked = (f"{plain[: LONGEST - size - 1]}-{digest[:size]}" for size in range(_MARK, len(digest)))
    return next(key for key in marked if key not in taken)
