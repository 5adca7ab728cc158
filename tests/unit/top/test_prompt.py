"""The last line while it asks."""

from __future__ import annotations

from tasuki.top.prompt import Prompt


def test_a_question_takes_enter_or_escape_and_nothing_else() -> None:
    answers: list[str] = []
    asking = Prompt("Purge?", answers.append)

    assert asking.foot.text == "Purge?  Enter: yes · Esc: no"
    assert [asking.press(key, key) for key in ("y", "n", "space", "q")] == [False] * 4
    assert asking.press("escape", None)
    assert answers == []
    assert asking.press("enter", None)
    assert answers == [""]


def test_what_is_typed_can_be_mended() -> None:
    heard: list[str] = []
    asking = Prompt("/", heard.append, is_typed=True, hear=heard.append)
    for character in "two words":
        asking.press("key", character)
    asking.press("ctrl+w", "\x17")
    assert asking.typed == "two"
    asking.press("backspace", "\x08")
    asking.press("f5", None)
    assert asking.foot.typed == "tw"
    asking.press("ctrl+u", None)
    asking.paste("日本\x1b\n" + "x" * 300)
    assert asking.typed == ("日本" + "x" * 300)[:200]
    assert heard[-1] == asking.typed


def test_a_question_takes_no_paste() -> None:
    asking = Prompt("Purge?", lambda _: None)
    asking.paste("yes")
    assert asking.typed == ""
