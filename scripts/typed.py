"""Write the fields of every entry kind as TypedDicts, from its model.

The TypedDicts of drivers are in src/tasuki/drivers/typed.py, the others in src/tasuki/app/typed/entries.py.

.venv/bin/python scripts/typed.py
"""

from __future__ import annotations

from collections.abc import Iterator
from keyword import iskeyword
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, PlainValidator, SecretStr
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticUndefined

from tasuki.drivers.sqs import aws
from tasuki.fields.types import Config, DriverKind, DurabilityLevel, LengthOptions
from tasuki.kinds.entries import consumer, env, function, queue, schedule, security, store, telemetry
from tasuki.kinds.entries.consumer import ConsumerConfig, WorkerConfig
from tasuki.kinds.entries.env import EnvMemoryConfig
from tasuki.kinds.entries.function import LuaLibraryConfig, PythonCodeConfig
from tasuki.kinds.entries.lifecycle import BackoffConfig, DriverConfig, LifecycleConfig
from tasuki.kinds.entries.queue import DeadLetterConfig, QueueConfig, RequirementName
from tasuki.kinds.entries.schedule import ScheduleConfig
from tasuki.kinds.kind import find_kind
from tasuki.registry.loader import Source

FOLDER = Path(__file__).parent.parent / "src" / "tasuki"

FAMILIES = (queue, consumer, schedule, function, store, env, aws, security, telemetry)
DRIVERS = ("memory", "sqlite", "amqp", "redis", "sqs", "postgres", "nats")

_UNITS = {
    "_duration": "Duration",
    "_size": "Size",
    "_mode": "str",
    "_span": 'Literal["pending", "running"] | Duration',
    "_rate": "float | str",
}
"""What may be written for a field, by the validator that reads it."""
_NUMBERS = (int, float, bool)
_NAMED = {
    DurabilityLevel: "DurabilityLevel",
    RequirementName: "RequirementName",
    NoneType: "None",
    Any: "Any",
    **dict.fromkeys((SecretStr, Source), "str"),
}
"""Types that are written otherwise than by their names."""
_BASES = (
    BackoffConfig,
    DriverConfig,
    EnvMemoryConfig,
    LengthOptions,
    LifecycleConfig,
    LuaLibraryConfig,
    PythonCodeConfig,
)
"""Models that others extend; so do their TypedDicts."""
_FILLED = {ConsumerConfig: ("queue", "func", "funcs"), WorkerConfig: ("queues",), ScheduleConfig: ("queue",)}
"""Fields that the decorator of consumers and ``worker_pool`` fill, and ``schedule``."""
_SPECIAL = {
    (QueueConfig, "driver"): "str",  # the app's own if it is not given
    (QueueConfig, "dead_letter"): "str | QueueHandle[Any] | DeadLetterFields | None",
    (QueueConfig, "options"): "AnyQueueOptions",
    (QueueConfig, "driver_options"): "QueueOptions | AnyQueueOptions",
    (ConsumerConfig, "driver_options"): "ConsumerOptions | AnyConsumerOptions",
    **{(model, "retry"): "RetryFields | Retries | None" for model in (QueueConfig, ConsumerConfig)},
    (DeadLetterConfig, "queue"): "Required[str | QueueHandle[Any]]",
}

HEAD = '''"""{title}

Made by scripts/typed.py from the models of the same names; docs/reference.md says what each field means.
"""

from __future__ import annotations

{imports}
'''

ENTRIES_IMPORTS = """from typing import TYPE_CHECKING, Any, Literal, Required, TypedDict

from tasuki.drivers.typed import (
    AnyConsumerOptions,
    AnyQueueOptions,
    BackoffFields,
    ConsumerOptions,
    LifecycleFields,
    QueueOptions,
)
from tasuki.units import Duration, Size

if TYPE_CHECKING:
    from tasuki.app.handle import QueueHandle
    from tasuki.contracts.context import Retries
    from tasuki.fields.types import DurabilityLevel
    from tasuki.kinds.entries.queue import RequirementName"""

DRIVERS_IMPORTS = """from typing import TYPE_CHECKING, Literal, TypedDict

from tasuki.units import Duration, Size

if TYPE_CHECKING:
    from tasuki.fields.types import DurabilityLevel"""


def pages() -> dict[str, str]:
    """Files of the package with their texts."""
    done: dict[type[BaseModel], str] = {}
    drivers = _page("Fields of drivers, and driver options of queues and consumers.", DRIVERS_IMPORTS, _drivers(done))
    entries = _page("Fields of entries other than drivers.", ENTRIES_IMPORTS, _entries(done))
    return {"drivers/typed.py": drivers, "app/typed/entries.py": entries}


def _page(title: str, imports: str, parts: Iterator[str]) -> str:
    body = "\n\n".join(parts).rstrip()
    return f"{HEAD.format(title=title, imports=imports)}\n\n{body}\n"


def _drivers(done: dict[type[BaseModel], str]) -> Iterator[str]:
    queues, consumers = {}, {}
    for name in DRIVERS:
        kind = find_kind(f"queue.driver.{name}")
        assert isinstance(kind, DriverKind)
        yield from _classes(kind.model, done)
        yield from _classes(kind.queue_options, done)
        queues[name] = name_of(kind.queue_options)
        if kind.consumer_options.model_fields:
            yield from _classes(kind.consumer_options, done)
            consumers[name] = name_of(kind.consumer_options)
    yield _class("QueueOptions", queues)  # by driver; each counts where that driver is in use
    yield _class("ConsumerOptions", consumers)
    yield f"AnyQueueOptions = (\n    {' | '.join(dict.fromkeys(queues.values()))}\n)"
    yield f"AnyConsumerOptions = {' | '.join(dict.fromkeys(consumers.values()))}"


def _entries(done: dict[type[BaseModel], str]) -> Iterator[str]:
    for kind in (kind for family in FAMILIES for kind in family.KINDS):
        yield from _classes(kind.model, done)


def _classes(model: type[BaseModel], done: dict[type[BaseModel], str]) -> Iterator[str]:
    """The TypedDicts of the models that a model extends and holds, then its own; each once."""
    if model in done:
        return
    done[model] = name_of(model)
    base = _base_of(model)
    if base is not None:
        yield from _classes(base, done)
    for inner in _models_in(tuple(get_type_hints(model, include_extras=True).values())):
        yield from _classes(inner, done)
    fields = _own_fields(model)
    if not fields:
        return
    filled = {name: fields.pop(name) for name in _FILLED.get(model, ())}
    if not filled:
        yield _class(name_of(model), fields, base=name_of(base) if base is not None else "TypedDict")
        return
    name = model.__name__.removesuffix("Config")
    yield _class(f"{name}Fields", fields)
    yield _class(f"{name}EntryFields", filled, base=f"{name}Fields")


def fields_of(model: type[BaseModel]) -> dict[str, str]:
    """Names as they are written, with the types of what may be written there."""
    found = {}
    for name, annotation in get_type_hints(model, include_extras=True).items():
        field = model.model_fields.get(name)
        if field is None or _is_refused(annotation):
            continue
        text = _SPECIAL.get((model, name)) or written(annotation)
        if field.is_required() and (model, name) not in _SPECIAL:
            text = f"Required[{text}]"
        found[field.alias or name] = text
    return found


def _base_of(model: type[BaseModel]) -> type[BaseModel] | None:
    return next((each for each in model.__mro__[1:] if each in _BASES), None)


def _own_fields(model: type[BaseModel]) -> dict[str, str]:
    """The fields that the TypedDict of the model's base does not have."""
    base = _base_of(model)
    known = fields_of(base) if base is not None else {}
    return {name: text for name, text in fields_of(model).items() if name not in known}


def name_of(model: type[BaseModel]) -> str:
    """The name of a model's TypedDict: its base's where the model adds no field."""
    base = _base_of(model)
    if base is not None and not _own_fields(model):
        return name_of(base)
    return model.__name__.removesuffix("Config").removesuffix("Options") + "Fields"


def written(annotation: Any) -> str:
    """The type of what may be written for a field of this annotation."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _annotated(inner[0], inner[1:])
    if origin in (Union, UnionType):
        return " | ".join(dict.fromkeys(written(each) for each in inner))
    if annotation in _NAMED:
        return _NAMED[annotation]
    if origin is Literal:
        return "Literal[" + ", ".join(f'"{each}"' for each in inner) + "]"
    if origin in (list, dict):
        return f"{origin.__name__}[{', '.join(map(written, inner))}]"
    return name_of(annotation) if issubclass(annotation, Config) else str(annotation.__name__)


def _annotated(base: Any, metadata: tuple[Any, ...]) -> str:
    for each in metadata:
        if isinstance(each, BeforeValidator | PlainValidator):
            if unit := _UNITS.get(getattr(each.func, "__name__", "")):
                return unit
            if base not in _NUMBERS and each.json_schema_input_type is not PydanticUndefined:
                return written(each.json_schema_input_type)
    return written(base)


def _is_refused(annotation: Any) -> bool:
    return any(isinstance(each, SkipJsonSchema) for each in getattr(annotation, "__metadata__", ()))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if any(isinstance(each, PlainValidator) for each in getattr(annotation, "__metadata__", ())):
        return  # an author writes an id, never such a model
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in annotation if isinstance(annotation, tuple) else get_args(annotation):
        yield from _models_in(inner)


def _class(name: str, fields: dict[str, str], *, base: str = "TypedDict") -> str:
    if any(map(iskeyword, fields)):
        rows = "".join(f'        "{field}": {type_},\n' for field, type_ in fields.items())
        return f'{name} = TypedDict(\n    "{name}",\n    {{\n{rows}    }},\n    total=False,\n)\n'
    return f"class {name}({base}, total=False):\n" + "".join(
        f"    {field}: {type_}\n" for field, type_ in fields.items()
    )


if __name__ == "__main__":
    for file, text in pages().items():
        (FOLDER / file).write_text(text)
