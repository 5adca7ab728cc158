"""The map in docs/README.md: each page is in one group, and the words of the field lead to the right page."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = runpy.run_path(str(ROOT / "scripts" / "site.py"))
MAP = SITE["entries"](ROOT / "docs" / "README.md")
GROUPS = [
    *("Start", "Tutorial", "Write work", "When it fails", "Control the flow", "Test", "Deploy and watch"),
    *("Brokers", "Extend", "Explain", "Reference", "Contributors"),
]
WORDS = {
    "how-to/around-the-handler": "Sentry, dependency injection",
    "how-to/batches": "batch",
    "how-to/cancel": "cancel, revoke",
    "how-to/dead-letters": "dead letter, DLQ",
    "how-to/desk": "dashboard, Flower",
    "how-to/django": "Django",
    "how-to/fastapi": "FastAPI",
    "how-to/flask": "Flask",
    "how-to/groups": "chain, group",
    "how-to/idempotency": "idempotency, exactly once, outbox",
    "how-to/install": "upgrade, Docker",
    "how-to/kubernetes": "Kubernetes",
    "how-to/limits": "rate limit, concurrency",
    "how-to/logs": "logging",
    "how-to/lua": "Lua",
    "how-to/middleware": "middleware",
    "how-to/monitoring": "metrics, Prometheus",
    "how-to/amqp": "RabbitMQ",
    "how-to/nats": "NATS",
    "how-to/postgres": "PostgreSQL",
    "how-to/priorities-and-delays": "priority, delay, countdown",
    "how-to/redis": "Redis",
    "how-to/results": "result, progress",
    "how-to/schedules": "cron, schedule",
    "how-to/sqlite": "SQLite",
    "how-to/sqs": "SQS",
    "how-to/test": "pytest",
    "how-to/timeouts-and-retries": "retry, backoff, timeout",
    "how-to/traces": "tracing, OpenTelemetry",
    "reference": "YAML",
    "coming-from": "Celery",
}
"""Page → words by which newcomers look for it."""


def test_every_page_is_in_one_group() -> None:
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    own = {"README.md", "index.md"}
    wanted = [page for page in pages if page not in own and not page.startswith(("adr/", "ja/"))]
    outside = {"adr/README.md", *SITE["OUTSIDE"].values()}
    assert sorted(f"{entry.page}.md" for entry in MAP if f"{entry.page}.md" not in outside) == sorted(wanted)


def test_the_japanese_map_has_the_same_groups_and_pages() -> None:
    japanese = SITE["entries"](ROOT / "docs" / "ja" / "README.md")
    own = [entry.page for entry in japanese if entry.page != "glossary"]
    assert own == [entry.page for entry in MAP]
    assert len(dict.fromkeys(entry.group for entry in japanese)) == len(GROUPS)
    words = [word.lower() for entry in japanese for word in entry.keywords]
    assert sorted(words) == sorted(set(words))


def test_the_groups_are_those_that_a_newcomer_guesses() -> None:
    assert list(dict.fromkeys(entry.group for entry in MAP)) == GROUPS


def test_a_line_of_another_form_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "map.md").write_text("# Map\n\n## Start\n\n- [A page](a.md): without keywords.\n")
    with pytest.raises(ValueError, match="a line of 'Start' is not"):
        SITE["entries"](tmp_path / "map.md")


def test_a_word_leads_to_one_page() -> None:
    words = [word.lower() for entry in MAP for word in entry.keywords]
    assert sorted(words) == sorted(set(words))
    pages = {word: entry.page for entry in MAP for word in entry.keywords}
    assert {word: pages.get(word) for told in WORDS.values() for word in told.split(", ")} == {
        word: page for page, told in WORDS.items() for word in told.split(", ")
    }


@pytest.mark.parametrize(
    ("html", "is_foreign"),
    [
        ('<script src="https://cdn.example.com/a.js">', True),
        ('<link rel="stylesheet" href="//fonts.example.com/a.css">', True),
        ("@font-face { src: url(https://fonts.example.com/a.woff2) }", True),
        ('<img src="_images/a.png"><a href="https://example.com">', False),
    ],
)
def test_what_comes_from_another_host_is_found(html: str, is_foreign: bool, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(html)
    assert bool(list(SITE["foreign"](tmp_path))) == is_foreign
