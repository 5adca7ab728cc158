"""scripts/words.py: which phrases it finds, where it reads, and that its lists hold nothing that is not needed."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "words.py"))


def found(path: str, text: str) -> list[tuple[int, str]]:
    return [(finding.line, finding.phrase) for finding in SCRIPT["findings"](path, text)]


@pytest.mark.parametrize(
    "phrase",
    [
        "anew",
        "again and again",
        "for good",
        "by and by",
        "whoever",
        "Whoever's",
        "nobody",
        "somebody else",
        "those of",
        "that of",
        "is told",
        "gives back",
        "handed back",
        "sends home",
        "a look",
        "two looks",
        "the bell",
        "treats a message",
        "what is",
        "what was",
        "who only",
        "tells of",
        "lately",
        "died of",
        "in a thread of its own",
        "so many seconds",
        "says of a queue",
    ],
)
def test_each_phrase_is_found(phrase: str) -> None:
    assert len(found("docs/page.md", f"A text with {phrase} in it.")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "treated as a number",
        "treat a body of bytes as text",
        "a look-up",
        "it looks like a bug",
        "for good reason",
        "telling",
        "bellows",
        "what a queue needs",
        "a name of its own choice",
        "in so many words",
        "so many expired keys that it ends",
        "a queue of its own",
    ],
)
def test_a_phrase_of_plain_english_is_not_found(text: str) -> None:
    assert found("docs/page.md", text) == []


def test_a_page_is_read_but_for_code_and_headings() -> None:
    page = "# What is promised\n\n```python\nnobody = 1\n```\nRun as\nuser `nobody`.\n\n## Nobody\n\nwhoever\n"

    assert found("docs/page.md", page) == [(11, "whoever")]


def test_a_phrase_may_span_two_lines() -> None:
    assert found("docs/page.md", "All those\nof a queue.") == [(1, "those of")]
    assert found("src/x.py", "x = 1\n    # all those\n    # of a queue\n") == [(2, "those of")]
    assert found("src/x.lua", "-- all those\n-- of a queue\n") == [(1, "those of")]


def test_code_is_never_read() -> None:
    assert found("src/x.py", 'nobody = told.anew\nx = "anew"\n') == []
    assert found("src/x.lua", "local anew = nobody\n") == []


def test_the_source_is_read_with_its_messages_and_tests_without() -> None:
    text = '"""Made anew."""\nraise Error(f"{x} is told")  # by whoever\nx = "to nobody"\n'

    assert found("src/x.py", text) == [(1, "anew"), (2, "is told"), (2, "whoever"), (3, "nobody")]
    assert found("tests/x.py", text) == [(1, "anew"), (2, "whoever")]


def test_a_column_after_wide_characters_is_right() -> None:
    assert found("src/x.py", 'x = {"ü": "€", "k": "to nobody"}\n') == [(1, "nobody")]


def test_lua_and_sql_are_read_in_comments_and_messages() -> None:
    assert found("src/x.lua", 'error("nobody waits") -- by whoever\n') == [(1, "nobody"), (1, "whoever")]
    assert found("src/x.sql", "select nobody; -- anew\n") == [(1, "anew")]


def test_a_finding_says_the_place_and_what_to_write() -> None:
    [problem] = SCRIPT["problems"]({"docs/page.md": "Begin\nanew."}, excused={})

    assert problem == "docs/page.md:2: 'anew': write again"


def test_an_excused_phrase_is_no_problem() -> None:
    texts = {"docs/page.md": "USER nobody"}

    assert SCRIPT["problems"](texts, excused={"docs/page.md": {"nobody": "a user of Linux"}}) == []


def test_an_excuse_that_is_not_needed_any_more_is_a_problem() -> None:
    assert SCRIPT["problems"]({"docs/page.md": "plain"}, excused={"docs/page.md": {"nobody": "a user"}}) == [
        "EXCUSED: docs/page.md has no 'nobody' any more: remove it",
    ]


@pytest.mark.parametrize(
    "text",
    ["ハンドラーが動く", "別のドライバー", "ヘッダーの値", "メッセージを送信する", "並列数", "デスクを開く"],
)
def test_a_japanese_text_has_one_word_for_a_term(text: str) -> None:
    assert len(found("README.ja.md", text)) == len(found("src/looks/ja.toml", f'a = "{text}"')) == 1


@pytest.mark.parametrize("text", ["{n} 件", "キュー {queue}", "失敗: {why}", "上限(1)", "(例)"])
def test_a_japanese_text_has_one_width_for_a_sign(text: str) -> None:
    assert found("src/looks/ja.toml", f'a = "{text}"') != []


def test_settled_and_confirmed_retry_and_redrive_are_different_words() -> None:
    wrong = '"settled" = "確定"\n"redrive" = "再試行"\nconfirmed = "確定"\nretrying = "再試行待ち"\n'
    assert [line for line, _ in found("src/looks/translations_ja.toml", wrong)] == [1, 2]
