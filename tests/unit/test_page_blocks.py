"""The blocks of a page, and whether a program printed what they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages.blocks import Block, Command, blocks_of, commands_of
from tests.support.pages.output import pattern_of, plain


def page(tmp_path: Path, text: str) -> list[Block]:
    (tmp_path / "page.md").write_text(text)
    return blocks_of(tmp_path / "page.md")


def test_a_block_has_its_place_its_options_and_its_file(tmp_path: Path) -> None:
    text = '# A page\n\n```python {shown skip="needs a printer"}\n# shop/jobs.py\n1 + 1\n```\n```lua\n-- x.lua\n```\n'
    python, lua = page(tmp_path, text)
    assert (python.line, python.language, python.file) == (4, "python", "shop/jobs.py")
    assert python.options == {"shown": "", "skip": "needs a printer"}
    assert lua.file == "x.lua"


@pytest.mark.parametrize("text", ["# a comment\n", "1 + 1  # jobs.py\n", "# jobs.py and more\n"])
def test_only_a_name_in_the_first_line_is_a_file(tmp_path: Path, text: str) -> None:
    assert page(tmp_path, f"```python\n{text}```\n")[0].file is None


@pytest.mark.parametrize(("options", "told"), [("skipp", "unknown option"), ("skip", "says why")])
def test_a_wrong_option_is_an_error(tmp_path: Path, options: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        page(tmp_path, f"```python {{{options}}}\n```\n")


def test_a_console_is_commands_and_what_they_print(tmp_path: Path) -> None:
    (block,) = page(tmp_path, "```console\n$ one  # first\n$ two\n2\n\n3\n```\n")
    assert commands_of(block) == [Command("one  # first", ""), Command("two", "2\n\n3")]
    (block,) = page(tmp_path, "```console\none\n```\n")
    with pytest.raises(ValueError, match="begins with"):
        commands_of(block)


@pytest.mark.parametrize(
    ("shown", "printed", "is_same"),
    [
        ("a b", "a b\n", True),
        ("a b", "a c\n", False),
        ("a b", "a b\nc\n", False),
        ("a+ (b)", "a+ (b)\n", True),
        ("a … b", "a 1 2 b\n", True),
        ("a … b", "a b\n", True),
        ("a … b", "a 1\n2 b\n", False),
        ("a\n…\nb", "a\nb\n", True),
        ("a\n…\nb", "a\n1\n2\nb\n", True),
        ("a\n…\nb", "a\n1\n2\nc\n", False),
        ("01a22182-6406-7000-9fae-cebcd14a3ab6 x", "01a22183-1111-7222-8333-cebcd14a3ab7 x\n", True),
        ("01a22182-6406-7000-9fae-cebcd14a3ab6 x", "app:images x\n", False),
        ("in 1.5s", "in 9.25s\n", True),
        ("in 190ms", "in 1.2s\n", True),
        ("in 30s", "in 31s\n", False),
        ("09:35:21.175 INFO", "23:59:59.000 INFO\n", True),
    ],
)
def test_output_is_the_same_but_for_what_varies(shown: str, printed: str, is_same: bool) -> None:
    assert (pattern_of(shown).fullmatch(printed) is not None) == is_same


def test_a_terminal_shows_the_last_state_of_a_line() -> None:
    assert plain("\x1b[31mred\x1b[0m \r\n 10%\r 100%\x1b[?25h\nend") == "red\n 100%\nend"
