"""What the core says is translated: every sentence of the files that speak at the desk."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import tasuki
from tasuki.app.explain.facts import Facts
from tasuki.app.explain.rule import explain
from tasuki.app.health.rules import (
    Answer,
    ChildFacts,
    ConsumerFacts,
    ConsumerRule,
    Kept,
    ProcessFacts,
    findings_of,
    findings_of_children,
)
from tasuki.desk.acts.acts import ACTS
from tasuki.desk.presentation.words import pairs, tell, translated
from tasuki.observe import events
from tasuki.state.pauses import Pause
from tasuki.supervisor.spec import State, Status
from tests.unit.app.explain.test_rule import ROWS
from tests.unit.desk.conftest import MakeBrowser

ROOT = Path(tasuki.__file__).parent
SPEAKING = (
    "app/explain/rule.py", "app/explain/looking.py", "dead/editing/body.py", "dead/editing/building.py",
    "dead/editing/headers.py", "dead/editing/undo.py", "dead/editing/edit.py",
    "dead/editing/secrets.py",
    "app/dry_run/child.py", "app/dry_run/report.py", "app/dry_run/run.py",
    "dead/steps.py", "dead/batches/planning.py", "security/compare.py",
    "security/expression_tokens.py", "security/expression_nodes.py", "security/expression.py",
    "desk/site.py", "desk/acts/bulk.py", "desk/acts/messages.py", "desk/reading/rows.py", "desk/reading/sampler.py",
    "desk/reading/search.py", "desk/security/forms.py", "desk/dead/library.py",
    "app/health/rules.py", "app/health/examiner.py",
)  # fmt: skip
PATTERNS = re.compile(
    r"\(\?|\\|%s|^\w+ snapshot$|^desk \w+|^Input data|^(\{\})+: \{\}$|^JSON is malformed|^(dry run|health) of"
    r"|^limit \{\}$|^\{\} … \{\}$|^\{\} \(\{\}\)$"
)
"""Texts that need no translation: patterns, lines of the log, texts of libraries, names beside values."""
CODES = frozenset({
    "no consumer", "key held", "lane limit", "no worker", "workers unknown", "cannot look", "no such message",
    "too deep",
})  # fmt: skip


def template(node: ast.AST) -> str:
    """A text of the source, with ``{}`` for each value."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def sentences(file: str) -> Iterator[str]:
    """The sentences in a source file, without its docstrings and its log."""
    tree = ast.parse((ROOT / file).read_text())
    apart: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            apart.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            apart |= {id(part) for part in node.values}
            apart |= {id(part.format_spec) for part in node.values if isinstance(part, ast.FormattedValue)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).startswith("_log."):
            apart |= {id(each) for each in ast.walk(node)}
    for node in ast.walk(tree):
        text = template(node)
        if id(node) not in apart and " " in text.strip() and not PATTERNS.search(text) and text not in CODES:
            yield text


KNOWN = {re.sub(r"\{\w+\}", "{}", english).strip() for english in pairs("ja")}


@pytest.mark.parametrize("file", SPEAKING)
def test_each_sentence_has_a_translation(file: str) -> None:
    def is_known(text: str) -> bool:
        plain = text.strip()
        return plain in KNOWN or f"{plain.rstrip(':')}: {{}}" in KNOWN

    assert [text for text in dict.fromkeys(sentences(file)) if not is_known(text)] == []


@pytest.mark.parametrize("english", pairs("ja"))
def test_a_translation_has_the_values_of_its_sentence(english: str) -> None:
    names = re.compile(r"\{(\w+)\}")
    japanese = pairs("ja")[english]
    assert set(names.findall(japanese)) <= set(names.findall(english))
    assert set(names.findall(english)) - {"s", "each"} <= set(names.findall(japanese))
    assert translated("ja", names.sub("1s", english).replace("other1s", "others")) is not None


def test_events_acts_and_their_results_have_words() -> None:
    kinds = {text for name, text in vars(events).items() if name.isupper() and isinstance(text, str)}
    assert [each for each in sorted({*kinds, *ACTS}) if translated("ja", each) is None] == []


@pytest.mark.parametrize(
    ("english", "japanese"),
    [
        ("behind 1 other", "ほかの1件のあと"),
        ("behind 3 others, about 30s at the current rate", "ほかの3件のあと。今の速度で約30秒"),
        ("no worker", None),
        ("every 90s", "1分30秒ごと"),
        (
            "it cannot be undone: the time of its letters in the trash is over",
            "元に戻せません：ごみ箱に残る時間が過ぎました",
        ),
        (
            "queue app:mails is paused until it is resumed, by kana: why not",
            "キューapp:mailsは一時停止中：再開するまで、kana: why not",
        ),
    ],
)
def test_sentences_within_sentences(english: str, japanese: str | None) -> None:
    assert translated("ja", english) == japanese


ASKED = ProcessFacts(
    "stopping", running=2, blocked_for=6.0, blocked_by=" by the handler shop.pay (message 1)", keeper_silent_for=6.0,
    services={"app:db": Status(State.FAILED, failures=2, error=OSError("-")), "app:mq": Status(State.STARTING)},
    refusals={"app:mq": "-"}, threads={"leases": "-"},
)  # fmt: skip
CONSUMERS = (
    ConsumerFacts(free=4, answer=Answer(59.0, 59.0, ready=True)),
    ConsumerFacts(unsettled=3),
    ConsumerFacts(asked_since=0.0),
    ConsumerFacts(late_leases=6.0),
    ConsumerFacts(problem="it cannot receive: -"),
    ConsumerFacts(kept=Kept(3, 40.0, "cannot be dead-lettered: -")),
    ConsumerFacts(kept=Kept(3, 40.0, "cannot be replied to: -", is_all=True)),
    ConsumerFacts(unreadable="-"),
    ConsumerFacts(answer=Answer(59.0, 59.0, error="-")),
    ConsumerFacts(paused="until it is resumed"),
)


def troubles() -> Iterator[str]:
    """All that the rules of health find, as a worker's entry has it."""
    for phase in ("closed", "starting", "stopping"):
        yield from (f"{name}: {each.text}" for name, each in findings_of(replace(ASKED, phase=phase)))
    children = {1: ChildFacts(down_for=9.0), 2: ChildFacts(silent_for=9.0), 3: ChildFacts(starting_for=400.0)}
    yield from (f"{name}: {each.text}" for name, each in findings_of_children(children))
    for facts in CONSUMERS:
        rule = ConsumerRule(broker_red_after=9.0)
        found = [rule.judge(float(now), facts) for now in range(60)]
        assert found[-1].text, facts
        yield from (f"consumer app:mails: {each.text}" for each in found if each.text)


@pytest.mark.parametrize("text", [*dict.fromkeys(text for text in troubles() if not text.endswith(": "))])
def test_each_finding_of_health_is_told_in_a_notice(text: str) -> None:
    told = tell("ja", "attention.not_live", {"worker": "web:7", "why": text})
    assert not set(re.findall("[a-zA-Z]{3,}", told)) - {"web", "app", "mails", "shop", "pay", "leases"}


def test_the_last_attempt_is_a_sentence_of_its_own() -> None:
    text = translated("ja", "dead (max_attempts), in app:dead; attempt 2 failed 1m38s ago on web:7 at app.py:send")
    plain = translated("ja", "dead (rejected), in app:dead")
    assert text is not None
    assert text.endswith("app:dead。試行2は1分38秒前に失敗、ワーカーはweb:7、場所はapp.py:send")
    assert plain is not None
    assert plain.endswith("場所はapp:dead")


@pytest.mark.parametrize("text", ["", "redis://cache: connection refused", "x" * 5000, "{name}", "%s {0}"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert translated("ja", text) is None
    assert translated("en", text) is None
    assert tell("ja", "attention.problem", {"text": text}) == text


def test_no_text_makes_it_slow() -> None:
    hostile = [
        "key '" + "' is held by message , running on  for " * 40,
        "; attempt " + " failed " * 200,
        "behind " + " other" * 300,
    ]
    for text in hostile:
        assert len(translated("ja", text[:2000]) or text)


def test_each_pause_is_told() -> None:
    for pause in (Pause(0.0), Pause(0.0, 86400.0), Pause(0.0, None, "kana"), Pause(0.0, 86400.0, "kana", "a deploy")):
        assert translated("ja", str(pause)) is not None


@pytest.mark.anyio
async def test_a_japanese_page_marks_what_is_not_translated(browse: MakeBrowser) -> None:
    browser = browse(headers={"accept-language": "ja"})

    known = (await browser.get("/find?q=body.x+%3D+1")).text
    missing = (await browser.get("/messages/app:mails/none")).text

    assert "はここでは意味がありません" in known
    assert "処理が済んだか、はじめからありません" in missing
    assert '<span lang="en">' not in known + missing


@pytest.mark.parametrize("known", [row[0] for row in ROWS])
def test_each_cause_and_what_to_do_is_told(known: Facts) -> None:
    for cause in explain(known).causes:
        for text in (cause.text, cause.act):
            assert not text or translated("ja", text), text
            assert not re.search(r"\b(ago|is|are|its|not|with)\b", translated("ja", text) or ""), text
