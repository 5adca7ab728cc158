"""Whatever the bytes of a file, loading and checking end with a project or with errors that have a place."""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tasuki.errors import ConfigError, ProjectError
from tasuki.kinds.check.project import check
from tasuki.registry.entry import find_cycles
from tasuki.registry.loader import load
from tasuki.registry.overrides import apply_overrides, substitute
from tasuki.registry.yaml import read_document
from tasuki.scalars import read_scalar

WORDS = [
    "namespace",
    "entries",
    "name",
    "kind",
    "queue.queue",
    "function.python",
    "driver",
    "lifecycle",
    "options",
    "no",
]
TEXTS = st.sampled_from(WORDS) | st.text(max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
)
KINDS = ["queue.queue", "queue.consumer", "function.lua", "function.python"]
FIELDS = ["driver", "queue", "func", "options", "driver_options", "dead_letter", "lifecycle", "retry", "source"]
ENTRIES = st.fixed_dictionaries({"name": TEXTS, "kind": st.sampled_from(KINDS)}, optional=dict.fromkeys(FIELDS, VALUES))


def outcome(content: bytes) -> None:
    """Load and check a file of these bytes: nothing but ProjectError leaves, and each of its errors has a place."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "p.yaml").write_bytes(content)
        errors: list[ConfigError] = []
        try:
            check(load(Path(folder), environ={}))
        except ProjectError as error:
            errors = error.errors
        assert all(error.position and str(error) for error in errors)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    outcome(b"namespace: app\n" + content)


@settings(deadline=None)
@given(st.text(alphabet="namespce: app\n-{}[]&*<>!|'\"#?,\t0", max_size=80))
def test_any_yaml_like_text(text: str) -> None:
    outcome(f"namespace: app\n{text}".encode())


@settings(deadline=None)
@given(st.lists(ENTRIES, max_size=4))
def test_any_entries(entries: list[dict[str, object]]) -> None:
    document = {"namespace": "app", "entries": entries}
    outcome(yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "surrogatepass"))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Quoting(yaml.SafeDumper):
    """Quotes all text: the dumper knows other numbers than the loader does (``0E0``)."""


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


@given(PLAIN)
def test_a_document_reads_back_what_was_written(value: object) -> None:
    text = yaml.dump(value, Dumper=Quoting, allow_unicode=False)
    document = read_document(text, "x.yaml")
    assert document.problems == []
    assert document.value == value


@given(st.text(max_size=20))
def test_a_scalar_never_changes_silently(text: str) -> None:
    value = read_scalar(text)
    if isinstance(value, str):
        assert value == text
    elif value is not None and not isinstance(value, bool):
        assert float(text) == value
    if isinstance(value, int) and not isinstance(value, bool):
        assert str(value) == text


@given(st.text(alphabet="$${}env:|AB ", max_size=30))
def test_placeholders_end_with_a_text_or_an_error(text: str) -> None:
    try:
        result = substitute(text, {"A": "x", "B": "$${env:A}"}.get)
    except ValueError:
        return
    assert "${env:" not in text or result != text


@given(st.text(alphabet="ap:q.=0x{}[]'\"", max_size=20))
def test_overrides_end_with_an_entry_or_an_error(text: str) -> None:
    entries, errors = apply_overrides({}, [text])
    assert (entries, len(errors)) == ({}, 1)


@given(st.dictionaries(st.integers(0, 8).map(str), st.lists(st.integers(0, 8).map(str), max_size=4)))
def test_circles_are_circles_and_without_them_none_is_left(edges: dict[str, list[str]]) -> None:
    circles = find_cycles(edges)
    for circle in circles:
        assert all(after in edges[before] for before, after in zip(circle, circle[1:] + circle[:1], strict=True))
    broken = {id for circle in circles for id in circle}
    rest = {
        id: [target for target in targets if target not in broken] for id, targets in edges.items() if id not in broken
    }
    assert find_cycles(rest) == []
