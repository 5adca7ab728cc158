from pathlib import Path

import pytest

from tasuki.registry.yaml import Declarations, may_declare, read_document


def declare(text: str) -> Declarations:
    return Declarations(read_document(text, "p/x.yaml"), Path("p/x.yaml"))


def errors(text: str) -> list[str]:
    return list(map(str, declare(text).errors))


def test_entries_keep_their_fields_meta_and_places() -> None:
    head = 'version: "1.0"\nnamespace: app\nmeta: {x: 1}\nentries:\n'
    text = head + "  - name: a\n    kind: k\n    meta: {type: test}\n    f: [1]\n"
    declarations = declare(text)
    assert declarations.errors == []
    [entry] = declarations.entries
    assert (entry.id, entry.kind, entry.data, entry.meta) == ("app:a", "k", {"f": [1]}, {"type": "test"})
    assert entry.folder == Path("p")
    assert str(entry.position()) == "p/x.yaml:5:5"
    assert str(entry.position(("f", 0))) == "p/x.yaml:8:9"


@pytest.mark.parametrize("version", ['"1.0"', "1.0", "~"])
def test_versions_that_are_known(version: str) -> None:
    assert errors(f"version: {version}\nnamespace: app\nentries:\n") == []


@pytest.mark.parametrize("text", ["", "a: 1", "- namespace", "services: {namespace: x}"])
def test_a_document_without_namespace_is_not_ours(text: str) -> None:
    declarations = declare(text + "\n")
    assert (declarations.entries, declarations.errors) == ([], [])


def test_a_foreign_document_with_duplicate_keys_is_not_judged() -> None:
    assert errors("a: 1\na: 2\n") == []


def test_names_are_text_even_if_they_look_like_something_else() -> None:
    text = "namespace: app\nentries:\n  - {name: no, kind: k}\n  - {name: 7, kind: k}\n  - {name: 007, kind: k}\n"
    assert [entry.id for entry in declare(text).entries] == ["app:no", "app:7", "app:007"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("namespace: app\nentrys: []\n", "p/x.yaml:2:1: unknown field 'entrys'; did you mean 'entries'?"),
        ("version: 2\nnamespace: app\n", 'p/x.yaml:1:1: version 2 is not known; write version: "1.0"'),
        ("namespace: 5\n", "p/x.yaml:1:1: a namespace is text, not the number 5; put it in quotes"),
        ("namespace:\nentries: []\n", "p/x.yaml:1:1: the namespace is empty; write one, like namespace: app"),
        (
            "namespace: a\nentries: {}\n",
            "p/x.yaml:2:1: entries is a list of entries; begin each entry with a dash: - name: tasks",
        ),
        (
            "namespace: a\nentries:\n  - x\n",
            "p/x.yaml:3:5: an entry is a mapping of fields; write it like {name: tasks, kind: queue.queue, …}",
        ),
        ("namespace: a\nentries:\n  - kind: k\n", "p/x.yaml:3:5: the entry has no name; add a line name: …"),
        (
            "namespace: a\nentries:\n  - name: x\n",
            "p/x.yaml:3:5: a:x: the entry has no kind; add a line kind: …; tasuki schema lists every kind",
        ),
        (
            "namespace: a\nentries:\n  - name: x\n    knd: k\n",
            "p/x.yaml:4:5: a:x: the entry has no kind, but 'knd'; did you mean 'kind'?",
        ),
        (
            "namespace: a\nentries:\n  - {name: true, kind: k}\n",
            "p/x.yaml:3:6: name is text, not true; put it in quotes",
        ),
        (
            "namespace: a\nentries:\n  - {name: x, kind: 1}\n",
            "p/x.yaml:3:15: a:x: kind is text, not the number 1; put it in quotes",
        ),
        (
            "namespace: a\nentries:\n  - {name: x, kind: k, meta: 5}\n",
            "p/x.yaml:3:24: a:x: meta is a mapping, not the number 5",
        ),
        ("namespace: a\nnamespace: b\n", "p/x.yaml:2:1: this key is given twice: line 1 has it already"),
        (
            "namespace: a\nentries: {x: 1, x: 2}\n",
            "p/x.yaml:2:1: entries is a list of entries; begin each entry with a dash: - name: tasks",
        ),
        (
            "namespace: a\nentries:\n  - {name: x, kind: k, f: 1, f: 2}\n",
            "p/x.yaml:3:30: a:x: this key is given twice: line 3 has it already",
        ),
        ("namespace: a: b\n", "p/x.yaml:1:13: this is not YAML: mapping values are not allowed in this context"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, expected: str) -> None:
    assert errors(text)[0] == expected


@pytest.mark.parametrize("item", ["{kind: k, f: 1, f: 2}", "[{f: 1, f: 2}]"])
def test_a_duplicate_key_in_an_entry_without_name_has_no_entry(item: str) -> None:
    text = f"namespace: a\nentries:\n  - {item}\n"
    assert [error.entry for error in declare(text).errors if "given twice" in error.problem] == [""]


def test_duplicate_keys_where_no_entries_are() -> None:
    assert [error.entry for error in declare("namespace: a\nentries: {x: {y: 1, y: 2}}\n").errors] == ["", ""]


@pytest.mark.parametrize(
    "text",
    [
        "namespace: app\n",
        "# c\n---\nversion: 1\nnamespace: app\n",
        '"namespace": app\n',
        "{namespace: app}",
        '{\n  "namespace": "app"\n}\n',
        "  version: 1\n  namespace: app\n",
        "version: 1\n\tnamespace: app\n",
    ],
)
def test_texts_that_may_be_ours(text: str) -> None:
    assert may_declare(text)


@pytest.mark.parametrize(
    "text", ["", "a: 1\n", "kind: Pod\nmetadata:\n  namespace: x\n", "# namespace: x\n", "a: the namespace: of\n"]
)
def test_texts_that_are_not_ours(text: str) -> None:
    assert not may_declare(text)
