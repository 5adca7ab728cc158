"""The TypedDicts of the typed door say what the models of the kinds say."""

from __future__ import annotations

import runpy
import typing
from pathlib import Path

import pytest

from tasuki.app.declaring import Declaring
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.kind import DriverKind, find_kind, kind_names

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "typed.py"))
PAGES: dict[str, str] = SCRIPT["pages"]()


@pytest.mark.parametrize("file", PAGES)
def test_the_fields_are_those_of_the_models(file: str) -> None:
    assert (ROOT / "src" / "tasuki" / "app" / "typed" / file).read_text() == PAGES[file], "run scripts/typed.py"


def test_each_kind_has_an_overload_with_its_fields() -> None:
    found = {}
    for overload in typing.get_overloads(Declaring.entry):
        kind, fields = (overload.__annotations__.get(name, "") for name in ("kind", "fields"))
        found[kind.removeprefix("Literal['").removesuffix("']")] = fields
    assert found.pop("str") == "Mapping[str, object]"
    assert found == {name: f"Unpack[{_fields_of(name)}]" for name in kind_names()}


def _fields_of(name: str) -> str:
    kind = find_kind(name)
    module = "d" if isinstance(kind, DriverKind) else "e"
    return f"{module}.{'ConsumerEntryFields' if kind.model is ConsumerConfig else SCRIPT['name_of'](kind.model)}"
