from collections.abc import Mapping

import pytest

from tasuki.errors import ConfigError, InvalidEntryError, MissingReferenceError, Position
from tasuki.registry.entry import Entry
from tasuki.registry.overrides import apply_overrides, is_overridden
from tasuki.scalars import Loose

PLACES: Mapping[tuple[str | int, ...], Position] = {
    (): Position("x.yaml", 1, 1),
    ("retry",): Position("x.yaml", 2, 1),
    ("retry", "jitter"): Position("x.yaml", 3, 1),
}
MAIL = Entry(
    "app.mail:out.box",
    "queue.queue",
    {"driver": "d", "retry": {"jitter": 0.1}, "tags": ["a", {"k": 1}]},
    {"m": 1},
    PLACES,
)


def overridden(*overrides: str) -> Entry:
    entries, errors = apply_overrides({MAIL.id: MAIL}, overrides)
    assert errors == []
    return entries[MAIL.id]


def failure(override: str) -> ConfigError:
    entries, [error] = apply_overrides({MAIL.id: MAIL}, [override])
    assert entries == {MAIL.id: MAIL}
    return error


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("no", "no"),
        ("true", True),
        ("010", Loose("010")),
        ("1e3", 1000.0),
        ("redis://h:6379/0#x", "redis://h:6379/0#x"),
        ("a: b", "a: b"),
        ('"5"', "5"),
        ("'it''s'", "it's"),
        ("[1, no, {a: b}]", [1, "no", {"a": "b"}]),
        ("{a: 1}", {"a": 1}),
        ("a=b", "a=b"),
    ],
)
def test_values_are_read_as_yaml(text: str, value: object) -> None:
    entry = overridden(f"app.mail:out.box:driver={text}")
    assert entry.data["driver"] == value
    assert type(entry.data["driver"]) is type(value)


def test_nested_fields_indexes_meta_and_kind() -> None:
    entry = overridden(
        "app.mail:out.box:retry.jitter=0.5",
        "app.mail:out.box:retry.max_delay=1m",
        "app.mail:out.box:lifecycle.restart.jitter=0",
        "app.mail:out.box:tags.1.k=2",
        "app.mail:out.box:tags.0=b",
        "app.mail:out.box:meta.m=2",
        "app.mail:out.box:kind=other",
    )
    assert entry.data == {
        "driver": "d",
        "retry": {"jitter": 0.5, "max_delay": "1m"},
        "tags": ["b", {"k": 2}],
        "lifecycle": {"restart": {"jitter": 0}},
    }
    assert (entry.kind, entry.meta) == ("other", {"m": 2})
    assert MAIL.data["retry"] == {"jitter": 0.1}
    assert MAIL.data["tags"] == ["a", {"k": 1}]


def test_nothing_takes_a_field_away() -> None:
    entry = overridden("app.mail:out.box:retry=", "app.mail:out.box:meta=null")
    assert "retry" not in entry.data
    assert entry.meta == {}


def test_the_place_of_an_overridden_value_is_the_option_without_the_value() -> None:
    entry = overridden("app.mail:out.box:retry={jitter: 9}", "app.mail:out.box:tags.1.k=3")
    assert str(entry.position(("retry", "jitter"))) == "-o app.mail:out.box:retry"
    assert str(entry.position(("tags", 1, "k"))) == "-o app.mail:out.box:tags.1.k"
    assert entry.position(("driver",)) == PLACES[()]
    assert is_overridden(entry, ("retry",))
    assert not is_overridden(entry, ("driver",))
    assert not is_overridden(entry, ())


@pytest.mark.parametrize(
    "override", ["", "x", "a:b=c", "a:b:=c", ":b:c=d", "a::c=d", "app.mail:out.box:driver", "a:b:c..d=1"]
)
def test_what_is_no_override_shows_the_form(override: str) -> None:
    assert failure(override).hint == "write it like app:mail:concurrency=4"


def test_an_unknown_entry_suggests_a_known_one() -> None:
    error = failure("app.mail:outbox:driver=secret")
    assert isinstance(error, MissingReferenceError)
    assert str(error.position) == "-o app.mail:outbox:driver"
    assert error.problem == "entry 'app.mail:outbox' is not defined"
    assert error.hint == "did you mean 'app.mail:out.box'?"
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("name=x", "a name cannot be overridden: others refer to it"),
        ("kind=5", "a kind is text"),
        ("meta=5", "meta is a mapping"),
        ("driver.x=1", "'x' would be a field of a value that has no fields"),
        ("tags.7=1", "'7' is not an index of a list of 2"),
        ("tags.x=1", "'x' is not an index of a list of 2"),
        ("driver=[1,", "the value is not a YAML value"),
        ("driver={a: 1, a: 2}", "the value is not a YAML value: this key is given twice"),
    ],
)
def test_a_value_that_cannot_be_set_is_an_error(override: str, problem: str) -> None:
    error = failure(f"app.mail:out.box:{override}")
    assert isinstance(error, InvalidEntryError)
    assert error.problem.startswith(problem)


@pytest.mark.parametrize("field", [".".join(["a"] * 3000), "meta." + ".".join(["0"] * 3000)])
def test_a_field_of_thousands_of_levels_is_an_error(field: str) -> None:
    error = failure(f"app.mail:out.box:{field}=1")
    assert isinstance(error, InvalidEntryError)
    assert error.problem.startswith("its field is 300")
    assert error.problem.endswith("levels deep, and values are nested at most 50 levels")
    assert len(str(error.position)) < 300


def test_a_value_of_thousands_of_levels_is_an_error() -> None:
    for value in ("[" * 3000 + "]" * 3000, "{a: " * 3000 + "1" + "}" * 3000, "[" * 60 + "]" * 60):
        assert failure(f"app.mail:out.box:driver={value}").problem.startswith("the value is not a YAML value")
