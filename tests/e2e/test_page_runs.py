"""Readers who follow a page see what it shows: its blocks are run, in order, in a folder of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.brokers.redis import Redis
from tests.support.pages.blocks import ROOT, blocks_of
from tests.support.pages.session import Session

RUN = [
    "README.md",
    "docs/tutorial.md",
    "docs/coming-from.md",
    "docs/coming-from-wippy.md",
    "docs/how-to/around-the-handler.md",
    "docs/how-to/asyncapi.md",
    "docs/how-to/batches.md",
    "docs/how-to/cancel.md",
    "docs/how-to/command-line.md",
    "docs/how-to/dead-letters.md",
    "docs/how-to/edit-and-retry.md",
    "docs/how-to/fastapi.md",
    "docs/how-to/flask.md",
    "docs/how-to/groups.md",
    "docs/how-to/idempotency.md",
    "docs/how-to/install.md",
    "docs/how-to/limits.md",
    "docs/how-to/logs.md",
    "docs/how-to/lua.md",
    "docs/how-to/middleware.md",
    "docs/how-to/migrate.md",
    "docs/how-to/monitoring.md",
    "docs/how-to/observers.md",
    "docs/how-to/pause.md",
    "docs/how-to/priorities-and-delays.md",
    "docs/how-to/production.md",
    "docs/how-to/request-and-reply.md",
    "docs/how-to/results.md",
    "docs/how-to/schedules.md",
    "docs/how-to/shared-workers.md",
    "docs/how-to/steps.md",
    "docs/how-to/waits.md",
    "docs/how-to/stores.md",
    "docs/how-to/tasks.md",
    "docs/how-to/test.md",
    "docs/how-to/timeouts-and-retries.md",
    "docs/how-to/traces.md",
    "docs/how-to/troubleshooting.md",
    "docs/how-to/types.md",
    "docs/how-to/web-applications.md",
]
"""Pages whose blocks are all run. Blocks of other pages are compiled and checked (``tests/unit/test_pages.py``); a
Japanese page has the blocks of the English one (``tests/unit/test_japanese.py``)."""

ELSEWHERE = {
    "amqp": "its blocks are entries and a broker's own commands; tests/conformance/test_amqp.py runs what it says",
    "api": "its requests need a desk with a token; tests/e2e/test_desk.py makes each of them",
    "choose-a-driver": "it shows no program; tests/unit/test_drivers_page.py holds the matrix behind it",
    "desk": "pages in a browser; tests/e2e/test_desk_browser.py",
    "django": "fragments of a project; tests/e2e/test_django_page.py puts them into examples/django, and runs them",
    "explain": "its output has the ids of one run; tests/e2e/test_explain.py",
    "health": "probes of a system that is not healthy; tests/faults/test_health.py",
    "kubernetes": "needs a cluster; tests/unit/cli/test_deploy.py reads its manifests",
    "mcp": "needs a client with a language model; tests/e2e/test_mcp.py speaks its protocol",
    "nats": "its blocks are entries and a broker's own commands; tests/conformance/test_nats.py runs what it says",
    "postgres": "its blocks are SQL of a database's owner; tests/conformance/test_postgres.py runs what it says",
    "redis": "its blocks are settings of a server; tests/conformance/test_redis.py runs what it says",
    "several-machines": "needs several machines; tests/faults/test_kill_worker.py has several processes",
    "sqlite": "it shows no program; tests/conformance/test_sqlite.py runs what it says",
    "sqs": "needs an account; tests/conformance/test_sqs.py runs what it says",
    "top": "a program for a terminal; tests/e2e/test_top.py has one",
    "unique": "fragments of publishes; tests/e2e/test_outbox.py and tests/faults/test_uniques.py run them",
}
"""How-to pages that are not read from top to bottom, and why."""

FINISHED = {"docs/tutorial.md": "shop"}
"""Pages whose files, as they are in the end, are an example."""

MOST_SKIPPED = 10


@pytest.mark.e2e
@pytest.mark.parametrize("page", RUN)
def test_a_page_is_true(page: str, tmp_path: Path) -> None:
    folder = read(ROOT / page, tmp_path)
    for file in (ROOT / "examples" / FINISHED[page]).glob("[!R]*.*") if page in FINISHED else ():
        written = (folder / file.name).read_text("utf-8").removeprefix(f"# {file.name}\n")
        assert file.read_text("utf-8") == written


def test_every_how_to_is_run_or_says_why_not() -> None:
    pages = {page.stem for page in (ROOT / "docs/how-to").glob("*.md")}
    run = {Path(page).stem for page in RUN if page.startswith("docs/how-to/")}
    assert run | ELSEWHERE.keys() == pages
    assert not run & ELSEWHERE.keys()
    tests = {path for why in ELSEWHERE.values() for path in re.findall(r"tests/[\w/]+(?:\.py)?", why)}
    assert [path for path in sorted(tests) if not (ROOT / path).exists()] == []


def read(page: Path, folder: Path) -> Path:
    """Work through a page; the folder in which the reader is then."""
    with Session(folder, {"redis": lambda: Redis.shared().url}) as session:
        for block in blocks_of(page):
            session.run(block)
    return session.folder


def test_few_blocks_are_skipped_and_each_says_why() -> None:
    skipped = [block for page in RUN for block in blocks_of(ROOT / page) if "skip" in block.options]
    assert len(skipped) <= MOST_SKIPPED, [block.name for block in skipped]
    assert all(len(block.options["skip"].split()) > 2 for block in skipped)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```console\n$ echo one\ntwo\n```\n", "page.md:2: echo one prints:\none\n"),
        ("```console\n$ echo one\none\n$ false\n```\n", "false: exit code 1"),
        ("```console {fails}\n$ true\n```\n", "true: exit code 0"),
        ("```python\n1 / 0\n```\n", "ZeroDivisionError"),
        ("```console\n$ echo 1 > a.py\n```\n```python {shown}\n# a.py\n2\n```\n", "a.py is another one:\n1\n"),
        ("```console {terminal=t}\n$ cat a\n1\n```\n", "the page shows:\n1\nand this was printed:\ncat: a"),
    ],
)
def test_a_page_that_is_wrong_is_noticed(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(text)
    with pytest.raises(AssertionError) as raised:
        read(tmp_path / "page.md", tmp_path)
    assert told in str(raised.value)


@pytest.mark.e2e
def test_a_terminal_goes_on_until_it_is_interrupted(tmp_path: Path) -> None:
    text = """
```sh
# wait.sh
trap 'echo ended; exit 0' INT
echo started
while read -r word; do echo "got $word"; done < fifo
```
```console
$ mkdir work
$ cd work
$ mkfifo fifo
```
```console {terminal=worker}
$ exec bash ../wait.sh
started
```
```console
$ echo sea > fifo
```
```text {terminal=worker}
got sea
```
"""
    (tmp_path / "page.md").write_text(text)
    assert read(tmp_path / "page.md", tmp_path) == tmp_path / "work"
