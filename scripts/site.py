"""Make the site of the documentation, build/site/en and build/site/ja, from the pages in docs; ``make docs`` runs it.

docs/README.md is the map: its groups are the navigation, and the words in italics are entries of the search index.
The pages stay as they are; a copy of them gets what only the site has: navigation, links that stay inside it, the
options of each command, and llms.txt. A page that loads anything from another host is an error. The Japanese site has
its own map, docs/ja/README.md, and the English text of a page that docs/ja does not have.
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

ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = ROOT / "docs"
BUILD: Final = ROOT / "build" / "site"
JAPANESE: Final = DOCS / "ja"
MAPS: Final = {"en": DOCS / "README.md", "ja": JAPANESE / "README.md"}
"""The language of a site → its map."""
OUTSIDE: Final = {"CHANGELOG.md": "changes.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "vulnerability.md"}
"""Pages beside the folder of the pages → their names on the site."""

_ENTRY = re.compile(r"^- \[([^]]+)\]\(([^)]+)\)(?:: |：)(.*?) \*([^*]+)\*$", re.MULTILINE)
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
    page: str
    """The name of the page on the site, without its ending."""
    purpose: str
    keywords: tuple[str, ...]


def entries(path: Path) -> list[Entry]:
    """The lines of a map, in order. Raises ValueError at a line that has another form."""
    found = []
    for part in path.read_text("utf-8").split("\n## ")[1:]:
        group, _, body = part.partition("\n")
        lines = [line for line in body.splitlines() if line.startswith("- ")]
        matches = [match.groups() for match in _ENTRY.finditer(body)]
        if len(matches) != len(lines):
            raise ValueError(f"{path.name}: a line of '{group}' is not '- [title](page): purpose. *keywords*'")
        for title, link, purpose, keywords in matches:
            page = _place(path.parent / link) or link
            found.append(Entry(group, title, page.removesuffix(".md"), purpose, tuple(re.split(", |、", keywords))))
    return found


def _place(path: Path) -> str | None:
    """The name that a page has on the site; None for another file of the project."""
    path = path.resolve()
    if path.parent == ROOT:
        return "index.md" if path.name.startswith("README") else OUTSIDE.get(path.name)
    if path == DOCS / "adr":
        return "adr/README.md"
    if not path.is_relative_to(DOCS):
        return None
    return path.relative_to(JAPANESE if path.is_relative_to(JAPANESE) else DOCS).as_posix()


def copy(source: Path, listed: list[Entry], language: str) -> None:
    """Write the pages as the site of a language has them."""
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("*.json", "*.md", "ja"))
    keywords = {entry.page: entry.keywords for entry in listed}
    japanese = set(JAPANESE.rglob("*.md"))
    chosen = [*(set(DOCS.rglob("*.md")) - japanese), *map(ROOT.joinpath, OUTSIDE)]
    if language == "ja":  # these take the places of the English ones
        chosen += japanese
    pages = {_place(page): page for page in chosen}
    anchors = {there: _anchors(page) for there, page in pages.items() if there and page in japanese}
    texts = {there: _linked(page.read_text("utf-8"), page, there, anchors) for there, page in pages.items() if there}
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


def _anchors(page: Path) -> Mapping[str, str]:
    """The anchors of an English page → the anchors of its Japanese text: their headings have the same order."""
    english = DOCS / page.relative_to(JAPANESE)
    theirs, ours = (_headings(path.read_text("utf-8")) if path.exists() else [] for path in (english, page))
    return {f"#{other}": f"#{own}" for other, own in zip(theirs, ours, strict=False)}


def _headings(text: str) -> list[str]:
    """The anchors of the headings, in order: lower case, without punctuation."""
    found = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found]


def _linked(text: str, page: Path, there: str, anchors: Mapping[str, Mapping[str, str]]) -> str:
    """The text with links that lead to pages of the site; a link to another file of the project becomes its text."""

    def link(found: re.Match[str]) -> str:
        new = _place(page.parent / found[3])
        if new is None or not (new.endswith(".md") or found[1]):
            return found[2]
        anchor = found[4] or ""
        anchor = anchors.get(new, {}).get(anchor, anchor)
        return f"{found[1]}[{found[2]}]({os.path.relpath(new, Path(there).parent)}{anchor})"

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


def build(source: Path, target: Path, language: str) -> int:
    """Run Sphinx; its exit code. Every warning is an error."""
    from sphinx.application import Sphinx
    from sphinx.util.console import nocolor

    from tasuki import __version__

    nocolor()
    app = Sphinx(
        source,
        None,
        target,
        BUILD / "doctrees" / language,
        "html",
        confoverrides={"version": __version__, "release": __version__, "language": language, **SETTINGS},
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


def make(language: str) -> int:
    """Build the site of a language, and print where it is; 1 if anything is wrong with it."""
    source, target = BUILD / "source" / language, BUILD / language
    for folder in (source, target):
        shutil.rmtree(folder, ignore_errors=True)
    listed = entries(MAPS[language])
    copy(source, listed, language)
    code = build(source, target, language)
    for_machines(source, target, listed)
    wrong = [*foreign(target), *unfound(target, listed)]
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    if not code and not wrong:
        print((target / "index.html").relative_to(ROOT))
    return 1 if code or wrong else 0


if __name__ == "__main__":
    sys.exit(make(sys.argv[1]))  # a process for each: Sphinx registers its directives once
