"""Find words and turns of phrase that a reader has to read twice, and say what to write instead.

.venv/bin/python scripts/words.py

Reads pages, the comments, docstrings and messages of the source, and the comments and docstrings of tests and scripts;
never code. Japanese texts have one word for each term, and one width for each sign. `EXCUSED` keeps a phrase where it
is right, with the reason.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
READ = (
    "*.md",
    "docs/**/*.md",
    "src/**/*.py",
    "src/**/*.lua",
    "src/**/*.sql",
    "tests/**/*.py",
    "scripts/*.py",
    "examples/**/*.py",
    "src/**/*ja.toml",
)

PHRASES = {
    r"anew": "again",
    r"again and again": "repeatedly",
    r"for good(?! reason)": "permanently",
    r"by and by": "gradually",
    r"who(?:m)?ever(?:'s)?": "any client (caller, process) that",
    r"nobody(?:'s)?": "no consumer (client, process); unused",
    r"somebody(?:'s| else(?:'s)?)?": "another process (user, client)",
    r"(?:those|that) of": "its, their, the … of",
    r"(?:am|is|are|was|were|be|been|being|not) told": "reports, is notified, receives",
    r"(?:gives?|gave|given|giving) back": "releases, requeues, returns",
    r"(?:hands?|handed|handing) back": "releases, requeues, returns",
    r"(?:sends?|sent|sending) home": "wakes",
    r"(?:a|an|one|two|three|each|every|next|last|first|between|such|more) looks?(?! like)": "a check, checks, polls",
    r"bells?": "wake-up",
    r"treat(?:s|ed|ing)?(?! (?:\S+ ){1,6}(?:as|like))(?! as| like)": "handle",
    r"what (?:is|was|are|were)": "name the thing: a confirmed message, the missing field",
    r"who only": "a process that only",
    r"tells? of": "reports",
    r"(?:is|are) dear": "expensive",
    r"lately": "recently, the latest …",
    r"for ever": "forever",
    r"(?:that|those) which": "its noun",
    r"(?:sees|saw) to": "ensures",
    r"(?:speaks?|spoke) of": "names, covers",
    r"(?:takes?|took) leave": "unregisters, ends",
    r"wants of": "requires, requests",
    r"so many(?! words)(?!(?: \S+){1,8} that)": "this many; the number",
    r"says? of": "says about; its noun: the answer, the facts, the text",
    r"what came in": "the received message",
    r"die[ds]? of": "failed with, the cause",
    r"(?:broker|store|server|database|cache|driver)s? (?:that )?(?:is|are|was|were) away": "… is unavailable",
    r"(?:has|have|had|gets?|needs?|with|in|on|under|over) an? \w+ of its own(?! (?:choice|kind|making))": "its own …",
}
"""What to avoid (a pattern; a space stands for any white space), and what to write."""

_JA = "ぁ-んァ-ヶー一-龥々"
JAPANESE = {
    "ハンドラー": "ハンドラ",
    "コンシューマー": "コンシューマ",
    "ドライバー": "ドライバ",
    "ヘッダー": "ヘッダ",
    "デスク": "管理画面",
    "送信": "発行",
    "同時実行|並列数": "並行数",
    "(?:settled|settle).*確定": "処理終了 (確定 is a confirmed publish)",
    "redrive.*再試行": "再投入 (再試行 is a retry by a worker)",
    rf"[{_JA}、。）」] [A-Za-z0-9{{`]|[A-Za-z0-9}}`%…] [{_JA}（「]": "no blank between Japanese and other letters",
    rf"[{_JA}）」]:": "：",
    rf"[{_JA}]\(|\([{_JA}]": "（）",
}
"""The same for Japanese texts: the terms of the seed's glossary, and full width."""

EXCUSED: dict[str, dict[str, str]] = {}
"""A path, a phrase as it stands there, and why it stays."""

_SPACE = r"(?:\s|#|--)+"  # a phrase may span the lines of a comment
_ANY = "|".join(f"({phrase})" for phrase in PHRASES).replace(" ", _SPACE)
_PATTERN = re.compile(rf"(?<![\w-])(?:{_ANY})(?![\w-])", re.IGNORECASE)
_CODE = "\0"  # in no phrase
_JAPANESE = re.compile("|".join(f"({phrase})" for phrase in JAPANESE))


class Finding(NamedTuple):
    """A phrase to avoid, where it stands, and what to write instead."""

    path: str
    line: int
    phrase: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.phrase!r}: write {self.instead}"


def prose(path: str, text: str) -> str:
    """The text with the same lines, in which all but its prose is blotted out."""
    spans = {".py": _python, ".lua": _script, ".sql": _script}.get(Path(path).suffix, _page)
    read = list(re.sub(r"\S", _CODE, text))
    for start, end in spans(text, messages=path.startswith("src/")):
        read[start:end] = text[start:end]
    return "".join(read)


def _python(text: str, *, messages: bool) -> Iterator[tuple[int, int]]:
    """Comments and docstrings; with ``messages`` all texts of several words."""
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield starts[token.start[0] - 1] + token.start[1], starts[token.end[0] - 1] + token.end[1]
    for node in ast.walk(ast.parse(text)):
        value = node.value if isinstance(node, ast.Expr) else node if messages else None
        if isinstance(value, ast.JoinedStr) or (
            isinstance(value, ast.Constant) and isinstance(value.value, str) and " " in value.value
        ):
            ends = [(value.lineno, value.col_offset), (value.end_lineno or 0, value.end_col_offset or 0)]
            # Python counts the bytes of a line.
            start, end = (starts[line - 1] + len(lines[line - 1].encode()[:column].decode()) for line, column in ends)
            yield start, end


def _script(text: str, *, messages: bool) -> Iterator[tuple[int, int]]:
    """Comments, and with ``messages`` texts of several words."""
    for found in re.finditer(r"""--.*|"[^"\n]* [^"\n]*"|'[^'\n]* [^'\n]*'""", text):
        if messages or found[0].startswith("--"):
            yield found.span()


def _page(text: str, *, messages: bool) -> Iterator[tuple[int, int]]:
    """All but code and headings: a heading may be a question."""
    start = 0
    for code in re.finditer(r"^```.*?^```$|^#[^\n]*$|`[^`\n]*`", text, re.MULTILINE | re.DOTALL):
        yield start, code.start()
        start = code.end()
    yield start, len(text)


def findings(path: str, text: str) -> list[Finding]:
    """All phrases to avoid in a text, in order; excused ones too."""
    is_japanese = "ja." in path or path.startswith("docs/ja/")
    pattern, instead = (_JAPANESE, [*JAPANESE.values()]) if is_japanese else (_PATTERN, [*PHRASES.values()])
    if not pattern.search(text):  # most files, and parsing takes time
        return []
    read = text if is_japanese and not path.endswith(".md") else prose(path, text)
    return [
        Finding(
            path,
            read.count("\n", 0, found.start()) + 1,
            " ".join(re.split(_SPACE, found[0])),
            instead[(found.lastindex or 1) - 1],
        )
        for found in pattern.finditer(read)
    ]


def problems(texts: Mapping[str, str], *, excused: Mapping[str, Mapping[str, str]] = EXCUSED) -> list[str]:
    """One line for each phrase to replace, and for each excuse that is not needed any more."""
    found = [finding for path, text in texts.items() for finding in findings(path, text)]
    allowed = {(path, phrase) for path, phrases in excused.items() for phrase in phrases}
    used = {(finding.path, finding.phrase) for finding in found}
    return [
        *(str(one) for one in found if (one.path, one.phrase) not in allowed),
        *(f"EXCUSED: {path} has no {phrase!r} any more: remove it" for path, phrase in sorted(allowed - used)),
    ]


def main() -> int:
    """Print all problems; the exit code says whether there are any."""
    paths = sorted({path for pattern in READ for path in ROOT.glob(pattern)})
    found = problems({path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in paths})
    print(*found, sep="\n", end="\n" if found else "", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
