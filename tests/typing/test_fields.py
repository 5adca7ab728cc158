"""The TypedDicts of the typed door say what the models of the kinds say."""

from __future__ import annotations

import inspect
import runpy
import typing
from collections.abc import Callable
from pathlib import Path

import pytest

from tasuki import Envelope
from tasuki.app.declare import EntryDeclarer
from tasuki.app.typed import entries, options
from tasuki.drivers import typed as drivers
from tasuki.fields.types import DriverKind
from tasuki.kinds.kind import find_kind, kind_names
from tasuki.queues.queue import Queue

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "typed.py"))
PAGES: dict[str, str] = SCRIPT["pages"]()


@pytest.mark.parametrize("file", PAGES)
def test_the_fields_are_those_of_the_models(file: str) -> None:
    assert (ROOT / "src" / "tasuki" / file).read_text() == PAGES[file], "run scripts/typed.py"


@pytest.mark.parametrize("name", kind_names())
def test_a_kind_s_typed_dict_has_the_fields_of_its_model(name: str) -> None:
    module, _, fields = _fields_of(name).partition(".")
    typed = getattr({"d": drivers, "e": entries}[module], fields)
    assert typed.__annotations__.keys() == SCRIPT["fields_of"](find_kind(name).model).keys()


def test_the_options_of_a_message_are_those_that_publish_takes() -> None:
    assert _keywords(Queue.publish) == set(options.PublishOptions.__annotations__)
    assert _keywords(Queue.publish_many) == set(options.BatchOptions.__annotations__)
    of_a_message = {**options.MessageOptions.__annotations__, **options.UniqueOptions.__annotations__}
    assert set(Envelope.__struct_fields__) - {"body", "headers"} == set(of_a_message)


def _keywords(function: Callable[..., object]) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def test_each_kind_has_an_overload_with_its_fields() -> None:
    found = {}
    *of_kinds, of_driver = typing.get_overloads(EntryDeclarer.__call__)
    assert of_driver.__annotations__["driver"] == "DriverEntry"
    for overload in of_kinds:
        kind, fields = (overload.__annotations__.get(name, "") for name in ("kind", "fields"))
        found[kind.removeprefix("Literal['").removesuffix("']")] = fields
    assert found.pop("str") == "Mapping[str, object]"
    assert found == {name: f"Unpack[{_fields_of(name)}]" for name in kind_names()}


def _fields_of(name: str) -> str:
    kind = find_kind(name)
    module = "d" if isinstance(kind, DriverKind) else "e"
    name = SCRIPT["name_of"](kind.model)
    return f"{module}.{name.replace('Fields', 'EntryFields') if kind.model in SCRIPT['_FILLED'] else name}"
