import pytest

from tasuki.errors import Position
from tasuki.registry import yaml as module
from tasuki.registry.yaml import read_document


def problem(text: str) -> str:
    document = read_document(text, "x.yaml")
    assert document.value is None
    [error] = document.errors
    return str(error)


def test_values_and_the_place_of_every_key() -> None:
    document = read_document("a: 1\nb:\n  - x\n  - {c: no}\n", "x.yaml")
    assert document.value == {"a": 1, "b": ["x", {"c": "no"}]}
    assert document.positions == {
        ("a",): Position("x.yaml", 1, 1),
        ("b",): Position("x.yaml", 2, 1),
        ("b", 0): Position("x.yaml", 3, 5),
        ("b", 1): Position("x.yaml", 4, 5),
        ("b", 1, "c"): Position("x.yaml", 4, 6),
    }
    assert document.problems == []


def test_quoted_text_is_text_whatever_it_looks_like() -> None:
    document = read_document("a: '010'\nb: \"true\"\nc: |\n  12\nd: !!str 7\ne: >-\n  no\n", "x.yaml")
    assert document.value == {"a": "010", "b": "true", "c": "12\n", "d": "7", "e": "no"}


def test_keys_are_always_text() -> None:
    assert read_document("1: a\nno: b\ntrue: c\n", "x").value == {"1": "a", "no": "b", "true": "c"}


def test_empty_texts_say_nothing() -> None:
    assert read_document("", "x").value is None
    assert read_document("# only a comment\n", "x").problems == []
    assert read_document("---\n", "x").value is None


def test_a_duplicate_key_is_reported_and_the_first_counts() -> None:
    document = read_document("a: 1\nb: {c: 1, c: [2]}\na: 3\n", "x.yaml")
    assert document.value == {"a": 1, "b": {"c": 1}}
    assert [(path, str(error)) for path, error in document.duplicates] == [
        (("b", "c"), "x.yaml:2:11: this key is given twice: line 2 has it already"),
        (("a",), "x.yaml:3:1: this key is given twice: line 1 has it already"),
    ]


def test_aliases_and_merge_keys_share_settings() -> None:
    text = "base: &b {x: 1, y: 2}\nother: &o {y: 3, z: 4}\none: {<<: *b, y: 5}\ntwo: {<<: [*b, *o]}\nthree: *b\n"
    value = read_document(text, "x").value
    assert value["one"] == {"x": 1, "y": 5}
    assert value["two"] == {"x": 1, "y": 2, "z": 4}
    assert value["three"] == {"x": 1, "y": 2}


def test_a_quoted_merge_key_is_a_plain_key() -> None:
    assert read_document('{"<<": 1}', "x").value == {"<<": 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: *x\n", "x.yaml:1:4: this alias has no anchor before it; a text that begins with * needs quotes"),
        ("a: &x [1, *x]\n", "x.yaml:1:11: this alias stands inside the value that it names"),
        ("a: &x {b: *x}\n", "x.yaml:1:11: this alias stands inside the value that it names"),
        ("a: {<<: 1}\n", "x.yaml:1:5: '<<' merges mappings, and this is something else"),
        ("{[1]: 2}\n", "x.yaml:1:2: a key must be text"),
        ("a: &x k\n? *x\n: 1\n", "x.yaml:2:3: a key must be text"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2:1: a file holds one document; this is a second one"),
        (
            "a: !!int 1\n",
            "x.yaml:1:4: a tag is not allowed, only plain data is; a text that begins with ! needs quotes",
        ),
        (
            "a: !env {}\n",
            "x.yaml:1:4: a tag is not allowed, only plain data is; a text that begins with ! needs quotes",
        ),
        ("a: b\0c\n", "x.yaml:1:5: a NUL character is not allowed in YAML"),
        ("a:\n\0\n", "x.yaml:2:1: a NUL character is not allowed in YAML"),
        ("a: \x01\n", "x.yaml: a control character is not allowed in YAML"),
        ("a: \ud800\n", "x.yaml: the text is not valid Unicode"),
    ],
)
def test_a_document_that_cannot_be_read_says_why_and_where(text: str, expected: str) -> None:
    assert problem(text) == expected


def test_python_objects_are_never_made() -> None:
    assert "is not allowed" in problem('a: !!python/object/apply:os.system ["true"]\n')


def test_a_tab_in_the_indentation_is_named() -> None:
    assert problem("a:\n\tb: 1\n").endswith("; a tab indents this line; indent with spaces")


def test_other_syntax_errors_have_no_hint() -> None:
    text = problem("a: b: c\n")
    assert text.startswith("x.yaml:1:5: this is not YAML: ")
    assert ";" not in text
    assert problem("a: [1,\n").startswith("x.yaml:2:1: this is not YAML")


def test_a_quote_that_nothing_closes_is_placed_where_it_begins() -> None:
    assert problem('a: 1\nb: "x\nc: 2\nd: 3\n').endswith("(while scanning a quoted scalar, which begins in line 2)")


def test_depth_is_limited() -> None:
    deep = "[" * module.MAX_DEPTH + "]" * module.MAX_DEPTH
    assert read_document(deep, "x").problems == []
    assert problem("[" + deep + "]").endswith(f"nested deeper than {module.MAX_DEPTH} levels")
    assert "this is not YAML" in problem("a: " + "[" * 5000) or "deeper" in problem("a: " + "[" * 5000)


def test_the_number_of_values_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NODES", 10)
    assert read_document("[1, 2, 3, 4, 5, 6, 7, 8, 9]", "x").problems == []
    assert problem("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]").endswith("the file has more than 10 values")


@pytest.mark.parametrize("merge", [False, True])
def test_a_billion_laughs_end_at_once(merge: bool) -> None:
    lines = ["a0: &a0 {k: lol}" if merge else "a0: &a0 [lol, lol]"]
    for i in range(1, 40):
        items = ", ".join([f"*a{i - 1}"] * 9)
        lines.append(f"a{i}: &a{i} {{<<: [{items}]}}" if merge else f"a{i}: &a{i} [{items}]")
    assert problem("\n".join(lines)).endswith(f"aliases expand to more than {module.MAX_EXPANDED} values")
