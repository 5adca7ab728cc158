"""Names of any language, and names made of any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.ids import LONGEST_NAME, is_name, name_for


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "mails.dead",
        "0",
        "_x-y.z",
        "処理",
        "メール-送信",
        "größe",
        "заказы",
        "हिन्दी",
        "ไทย",
        "注文.dead",
        "x" * 255,
        "語" * 85,
    ],
)
def test_words_of_any_language_are_names(text: str) -> None:
    assert is_name(text)
    assert name_for(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".a",
        "-a",
        "a b",
        "a:b",
        "a/b",
        "a\n",
        "処 理",
        "処理!",
        "📬",
        "a\u200db",
        "\u202ea",
        "か\u3099",
        "x" * 256,
        "語" * 86,
        "a\0",
    ],
)
def test_blanks_signs_and_unseen_characters_are_none(text: str) -> None:
    assert not is_name(text)
    assert is_name(name_for(text, "q.task."))


def test_texts_of_one_length_have_names_of_their_own() -> None:
    texts = ["処理", "送信", "a b", "a-b", "a!b", "が", "か\u3099", "📬", "📭", "語" * 300, "語" * 299]
    assert len({name_for(text, "jobs.task.") for text in texts}) == len(texts)
    assert name_for("a b", "jobs.task.") == "jobs.task.a-b-c8687a08", "the same in each process and version"


@given(st.text(), st.text())
def test_two_texts_never_share_a_name(one: str, other: str) -> None:
    names = name_for(one, "q.task."), name_for(other, "q.task.")
    assert all(is_name(name) and len(name.encode()) <= LONGEST_NAME for name in names)
    assert (names[0] == names[1]) == (one == other)
