"""Lines of errors in JSON texts."""

from __future__ import annotations

import msgspec
import pytest

from tasuki.dead.editing.problems import line_of, offset_of

TEXT = """{
  "user": {"tags": ["a", {"deep": [
    1,
    "}{[,:\\""
  ]}],
  "name": 1},
  "user2": null,
  "": [[0], [1,
  2]]
}"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", "{"),
        (".user", '{"tags"'),
        (".user.tags", '["a"'),
        (".user.tags[0]", '"a"'),
        (".user.tags[1].deep", "[\n    1"),
        (".user.tags[1].deep[1]", '"}{[,'),
        (".user.name", "1},"),
        (".user2", "null"),
        (".user.none", '{"tags"'),
        (".user.tags[9]", '["a"'),
        (".none.a", "{"),
        (".user[...][1]", '{"tags"'),
    ],
)
def test_a_path_leads_to_its_value_or_as_far_as_it_goes(path: str, found: str) -> None:
    assert TEXT[offset_of(TEXT.encode(), path) :].startswith(found)


class _User(msgspec.Struct):
    name: str
    tags: list[int]


def test_the_line_of_an_error_of_msgspec() -> None:
    text = '{\n "name": "a",\n "tags": [1,\n  "x"]}'
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(text, type=_User)
    assert line_of(text, str(caught.value)) == 4
    assert line_of(text, "JSON is malformed: invalid character (byte 4)") == 2
    assert line_of(text, "Input data was truncated") == 4
    assert line_of(text, "Object missing required field `a`") == 0
    assert line_of(text, "Expected `str`, got `int` - at `key in $.tags`") == 3


def test_a_text_that_is_no_json_has_lines_too() -> None:
    for text in ("]]]}},,", ':::"', '{"a":{"a":', ""):
        assert line_of(text, "x - at `$.a.a`") == 1


def test_a_hostile_path_and_text_take_one_walk() -> None:
    text = "[" * 200_000
    assert line_of(text, "x - at `$" + "[0]" * 10_000 + "`") == 1
