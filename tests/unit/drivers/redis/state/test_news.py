"""What scripts publish, and what a watch makes of it."""

from __future__ import annotations

import pytest

from tasuki.contracts.state.store import Change
from tasuki.drivers.redis.state.places import read_news


def test_a_value_comes_with_its_news() -> None:
    news = read_news(b"= 17 1500000 4\na\nb/\n\0value")
    assert news.change == Change("a\nb/", b"\n\0value", 17)
    assert news.left == 1.5


def test_a_long_value_has_to_be_read() -> None:
    news = read_news(b"~ 17 -1 3\nkey")
    assert news.change is None
    assert not news.is_gone
    assert news.left is None


def test_a_removal() -> None:
    assert read_news("- 17 -1 3\n語".encode()).change == Change("語", None, 17)


@pytest.mark.parametrize("content", [b"", b"= 1 2\nkey", b"= x -1 3\nkey"])
def test_news_of_another_program_is_an_error(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the link closes for any
        read_news(content)
