"""The reference is found by words."""

from __future__ import annotations

import pytest

from tasuki.cli.commands.work.desk import _passages
from tasuki.mcp.passages import Passages


@pytest.fixture(scope="module")
def passages() -> Passages:
    return Passages(_passages)


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("redrive dead letters", "command tasuki redrive"),
        ("how do I pause a queue?", "command tasuki pause"),
        ("message_ttl", "entry kind queue.queue, field message_ttl"),
        ("cancel messages on the command line", "command tasuki cancel"),
        ("App.publish delay", "Python tasuki.App.publish"),
    ],
)
def test_a_question_finds_its_passage(passages: Passages, question: str, title: str) -> None:
    assert title in [each.title for each in passages.find(question, 5)]


def test_words_that_are_nowhere_find_nothing(passages: Passages) -> None:
    assert passages.find("xyzzy 日本", 5) == []
    assert passages.find("?!", 5) == []


def test_no_passage_shows_a_secret_or_an_object(passages: Passages) -> None:
    passages.find("queue", 1)
    assert len(passages._all) > 300
    assert not [each for each in passages._all if " object at 0x" in each.text]
