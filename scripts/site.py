"""Make the site of the documentation, build/site/en, from the pages in docs; ``make docs`` runs it.

docs/README.md is the map: its groups are the navigation, and the words in italics are entries of the search index.
The pages stay as they are; a copy of them gets what only the site has: navigation, links that stay inside it, the
options of each command, and llms.txt. A page that loads anything from another host is an error.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
BUILD: Final = ROOT / "build" / "site"
OUTSIDE: Final = {"CHANGELOG.md": "changes.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "vulnerability.md"}
"""Pages beside the folder of the pages → their names on the site."""

_ENTRY = re.compile(r"^- \[([^]]+)\]\(([^)]+)\): (.*?) \*([^*]+)\*$", re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")
_FOREIGN = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\b(?:src|srcset)="(?:https?:)?//[^"]*"""
    r"""|<link\b(?![^>]*rel="canonical")[^>]*\bhref="(?:https?:)?//[^"]*|url\(["']?(?:https?:)?//[^)]*|@import[^;]*//[^;]*""",
    re.IGNORECASE,
)


class Entry(NamedTuple):
    """A line of the map: the page from its folder, and the words by which people look for it."""

    group: str
    title: str
    link: str
    purpose: str
    keywords: tuple[str, ...]

    @property
    def page(self) -> str:
        """The name of the page on the site, without its ending."""
        if self.link.endswith("/"):
            return f"{self.link}README"
        return OUTSIDE.get(self.link.removeprefix("../"), self.link).removesuffix(".md")


def entries(text: str) -> list[Entry]:
    """The lines of the map, in order. Raises ValueError at a line that has another form."""
    found = []
    for part in text.split("\n## ")[1:]:
        group, _, body = part.partition("\n")
        lines = [line for line in body.splitlines() if line.startswith("- ")]
        listed = [Entry(group, *match.groups()[:3], tuple(match[4].split(", "))) for match in _ENTRY.finditer(body)]
        if len(listed) != len(lines):
            raise ValueError(f"docs/README.md: a line of '{group}' is not '- [title](page): purpose. *keywords*'")
        found += listed
    return found


def copy(source: Path, listed: list[Entry]) -> None:
    """Write the pages as the site has them."""
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("*.json", "*.md"))
    keywords = {entry.page: entry.keywords for entry in listed}
    pages = {page: page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    pages |= {ROOT / name: there for name, there in OUTSIDE.items()}
    texts = {there: _linked(page.read_text("utf-8"), page, there) for page, there in pages.items()}
    for there, text in {**texts, "adr/README.md": _decisions()}.items():
        head = "".join(f".. index:: ! {word}\n" for word in keywords.get(there.removesuffix(".md"), ()))
        if head:
            head = f"```{{eval-rst}}\n{head}```\n\n"
        elif there.startswith("adr/"):  # listed on one page: they would be half of each navigation
            head = "---\norphan: true\n---\n\n"
        (source / there).write_text(head + text, "utf-8")
    with (source / "how-to" / "command-line.md").open("a", encoding="utf-8") as file:
        file.write(_commands())
    with (source / "index.md").open("a", encoding="utf-8") as file:
        file.write(_navigation(listed))


def _linked(text: str, page: Path, there: str) -> str:
    """The text with links that lead to pages of the site; a link to another file of the project becomes its text."""

    def link(found: re.Match[str]) -> str:
        target = (page.parent / found[3]).resolve()
        if target == ROOT / "README.md":
            new = "index.md"
        elif target.parent == ROOT and target.name in OUTSIDE:
            new = OUTSIDE[target.name]
        elif target == DOCS / "adr":
            new = "adr/README.md"
        elif target.is_relative_to(DOCS) and (target.suffix == ".md" or found[1]):
            new = target.relative_to(DOCS).as_posix()
        else:
            return found[2]
        return f"{found[1]}[{found[2]}]({os.path.relpath(new, Path(there).parent)}{found[4] or ''})"

    return _LINK.sub(link, text)


def _navigation(listed: list[Entry]) -> str:
    groups = dict.fromkeys(entry.group for entry in listed)
    trees = [[entry.page for entry in listed if entry.group == group] for group in groups]
    return "\n```{toctree}\n:hidden:\n\nREADME\n```\n" + "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {group}\n\n" + "\n".join(tree) + "\n```\n"
        for group, tree in zip(groups, trees, strict=True)
    )


def _decisions() -> str:
    paths = sorted((DOCS / "adr").glob("0*.md"))
    lines = [f"- [{path.read_text('utf-8').partition('# ')[2].partition(chr(10))[0]}]({path.name})" for path in paths]
    head = "After this page you can find the decision behind a behavior. Each says what was rejected, and why."
    return f"# Decisions\n\n{head}\n\n" + "\n".join(lines) + "\n"


def _commands() -> str:
    """The help of each command, by the sections of ``tasuki --help``."""
    import click

    from tasuki.cli.group import SECTIONS, root

    context = click.Context(root, info_name="tasuki", terminal_width=100)
    parts = ["\n\n## Every command\n"]
    for name in (name for section in SECTIONS.values() for name in section):
        command = root.get_command(context, name)
        assert command is not None
        told = command.get_help(click.Context(command, context, name, terminal_width=100, max_content_width=100))
        parts.append(f"### `tasuki {name}`\n\n```text\n{told}\n```\n")
    return "\n".join(parts)


def build(source: Path, target: Path) -> int:
    """Run Sphinx; its exit code. Every warning is an error."""
    from sphinx.application import Sphinx
    from sphinx.util.console import nocolor

    from tasuki import __version__

    nocolor()
    app = Sphinx(
        source,
        None,
        target,
        BUILD / "doctrees",
        "html",
        confoverrides={"version": __version__, "release": __version__, **SETTINGS},
        status=None,
        freshenv=True,
        warningiserror=True,
        parallel=os.cpu_count() or 1,
    )
    app.build(force_all=True)
    return app.statuscode


SETTINGS: Final[Mapping[str, Any]] = {
    "project": "Tasuki",
    "author": "",
    "language": "en",
    "extensions": ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"],
    "html_theme": "furo",
    "html_title": "Tasuki",
    "html_copy_source": False,
    "html_show_copyright": False,
    "html_show_sphinx": False,
    "html_theme_options": {
        "light_css_variables": {"color-brand-primary": "#b3261e", "color-brand-content": "#b3261e"},
        "dark_css_variables": {"color-brand-primary": "#ff8a80", "color-brand-content": "#ff8a80"},
    },
    "highlight_language": "none",
    "myst_heading_anchors": 5,
    "nitpicky": True,
    # Names that have no page: of other packages, of type variables, and of parts that are not public.
    "nitpick_ignore_regex": [("py:.*", r".*")],
    "toc_object_entries": False,
    "autodoc_member_order": "bysource",
    "autodoc_typehints_format": "short",
    "autodoc_preserve_defaults": True,
    "autoclass_content": "class",
    # An example may show part of a file, as no lexer knows it.
    "suppress_warnings": ["misc.highlighting_failure", "myst.header"],
}


def foreign(target: Path) -> Iterator[str]:
    """What a page would load from another host."""
    for path in sorted(target.rglob("*")):
        if path.suffix in (".html", ".css"):
            for found in _FOREIGN.finditer(path.read_text("utf-8")):
                yield f"{path.relative_to(target)}: {found[0][:120]}"


def unfound(target: Path, listed: list[Entry]) -> Iterator[str]:
    """Words of the map that the search would not lead to their page."""
    index = json.loads(
        (target / "searchindex.js").read_text("utf-8").removeprefix("Search.setIndex(").removesuffix(")")
    )
    for entry in listed:
        for word in entry.keywords:
            pages = {index["docnames"][number] for number, *_ in index["indexentries"].get(word.lower(), ())}
            if entry.page not in pages:
                yield f"{entry.page}: the search does not lead from '{word}' to it"


def for_machines(source: Path, target: Path, listed: list[Entry]) -> None:
    """Write llms.txt, a line a page, and llms-full.txt, all pages but those for contributors."""
    lines, texts = ["# Tasuki", ""], []
    for entry in listed:
        lines.append(f"- [{entry.title}]({entry.page}.html): {entry.purpose}")
        if entry.group != "Contributors":
            texts.append((source / f"{entry.page}.md").read_text("utf-8"))
    (target / "llms.txt").write_text("\n".join(lines) + "\n", "utf-8")
    (target / "llms-full.txt").write_text("\n\n".join(texts), "utf-8")


def main() -> int:
    """Build, and say where the site is; 1 if anything is wrong with it."""
    source, target = BUILD / "source", BUILD / "en"
    for folder in (source, target):
        shutil.rmtree(folder, ignore_errors=True)
    listed = entries((DOCS / "README.md").read_text("utf-8"))
    copy(source, listed)
    code = build(source, target)
    for_machines(source, target, listed)
    wrong = [*foreign(target), *unfound(target, listed)]
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    if not code and not wrong:
        print((target / "index.html").relative_to(ROOT))
    return 1 if code or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
