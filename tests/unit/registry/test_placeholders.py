from collections.abc import Mapping

import pytest

from tasuki.errors import Position
from tasuki.registry.entry import Entry
from tasuki.registry.overrides import Variables, resolve_entry, substitute
from tasuki.scalars import Substituted

VALUES = {"HOST": "mail", "PORT": "25", "LOOP": "${env:HOST}", "DOLLARS": "$${x}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${env:HOST}", "mail"),
        ("${env:HOST}:${env:PORT}/", "mail:25/"),
        ("${env:NONE|x}", "x"),
        ("${env:NONE|}", ""),
        ("${env:NONE|a|b}", "a|b"),
        ("${env:HOST|x}", "mail"),
        ("$${env:HOST}", "${env:HOST}"),
        ("a$${b}", "a${b}"),
        ("${env:DOLLARS}", "$${x}"),
        ("${HOST} ${other:X}", "${HOST} ${other:X}"),
    ],
)
def test_placeholders_become_their_values(text: str, expected: str) -> None:
    assert substitute(text, VALUES.get) == expected


def test_the_result_is_marked_only_where_something_was_substituted() -> None:
    assert type(substitute("${env:PORT}", VALUES.get)) is Substituted
    assert type(substitute("$${env:PORT}", VALUES.get)) is str


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${env:NONE}", "the variable 'NONE' is not set"),
        ("${env:}", "names no variable"),
        ("${env: |x}", "names no variable"),
        ("${env:HOST", "no closing brace"),
        ("${env:LOOP}", "placeholders are not nested"),
        ("${env:NONE|${env:HOST}}", "placeholders are not nested"),
    ],
)
def test_a_placeholder_that_cannot_be_resolved_is_an_error(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        substitute(text, VALUES.get)


def variable(name: str, **data: object) -> Entry:
    return Entry(f"app:{name}", "env.variable", data)


def variables(environ: Mapping[str, str], *entries: Entry) -> Variables:
    return Variables(environ, {entry.id: entry for entry in entries})


def test_the_process_environment_comes_first_and_empty_is_unset() -> None:
    found = variables({"A": "process", "B": ""}, variable("A", default="entry"), variable("B", default="entry"))
    assert found.lookup("A", "app") == "process"
    assert found.lookup("B", "app") == "entry"
    assert found.lookup("C", "app") is None


def test_a_variable_is_found_by_public_name_by_id_and_by_bare_name_in_its_own_namespace() -> None:
    found = variables({"KEY": "value"}, variable("url", variable="URL", default="d"), variable("key", variable="KEY"))
    assert found.lookup("URL", "other") == "d"
    assert found.lookup("app:url", "other") == "d"
    assert found.lookup("url", "app") == "d"
    assert found.lookup("url", "other") is None
    assert found.lookup("app:key", "other") == "value"


def test_a_variable_without_public_name_is_stored_under_the_name_of_its_entry() -> None:
    assert variables({"token": "t"}, variable("token")).lookup("app:token", "x") == "t"


def test_other_kinds_are_no_variables() -> None:
    assert Variables({}, {"app:q": Entry("app:q", "queue.queue", {"variable": "q"})}).lookup("app:q", "app") is None


def test_numbers_and_empty_defaults() -> None:
    found = variables({}, variable("n", default=25), variable("e", default=""))
    assert found.lookup("n", "app") == "25"
    assert found.lookup("e", "app") is None


def test_a_storage_in_memory_has_only_defaults_and_one_in_a_file_cannot_be_read() -> None:
    memory, file = Entry("app:m", "env.storage.memory", {}), Entry("app:f", "env.storage.file", {})
    kept, filed = variable("kept", variable="K", storage="m", default="d"), variable("filed", storage="app:f")
    found = variables({"K": ""}, memory, file, kept, filed)
    assert found.lookup("K", "app") == "d"
    with pytest.raises(ValueError, match="'app:filed' is stored in a file"):
        found.lookup("filed", "app")


def test_an_entry_is_resolved_throughout_and_each_failure_has_its_place() -> None:
    places = {("a",): Position("x.yaml", 3, 1), ("list", 1): Position("x.yaml", 5, 5)}
    data = {"a": "${env:NONE}", "list": ["${env:HOST}", "${env:"], "n": 1, "m": {"k": "${env:PORT}"}}
    resolved, errors = resolve_entry(Entry("app:e", "k", data, positions=places), variables(VALUES))
    assert resolved == {"a": "${env:NONE}", "list": ["mail", "${env:"], "n": 1, "m": {"k": "25"}}
    assert list(map(str, errors.values())) == [
        "x.yaml:3:1: app:e: the variable 'NONE' is not set; set the variable in the environment (no .env file is "
        "read), or give a default: ${env:NAME|default}",
        "x.yaml:5:5: app:e: the placeholder '${env:' has no closing brace",
    ]
