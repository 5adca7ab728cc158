"""Documents through a worker that is killed repeatedly, and through a publisher that is killed too."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.paperless.site import Site, kill

WORKER_KILLS, PUBLISHER_KILLS = 12, 3
UNCOMMITTED = "killed between the removal of its file and the commit: the file is in the media folder, the message dead"
"""The application moves the file within its transaction, so that the second attempt does not find it."""
LONGEST = 1800.0
"""Seconds for all of it."""

_ROWS = """
import json
from documents.models import Document, PaperlessTask
print(json.dumps({
    "documents": [[d.checksum, d.content.strip(), d.source_path.is_file()] for d in Document.objects.all()],
    "tasks": {s: PaperlessTask.objects.filter(status=s).count() for s in PaperlessTask.ALL_STATES},
}))
"""
_COUNT = "from documents.models import Document; print(Document.objects.count())"
_IN_TRANSACTION = """
import os, signal
from django.db import transaction
from documents.models import Tag
from documents.tasks import bulk_update_documents
with transaction.atomic():
    Tag.objects.create(name="of a request")
    bulk_update_documents.delay(document_ids=[])
    if {is_killed}:
        os.kill(os.getpid(), signal.SIGKILL)
"""
_CHORD = """
from documents import bulk_edit
from documents.data_models import ConsumableDocument, DocumentMetadataOverrides, DocumentSource
from documents.models import Document
from documents.tasks import consume_file
parts = []
for path in {paths!r}:
    part = ConsumableDocument(source=DocumentSource.ConsumeFolder, original_file=path)
    parts.append(consume_file.s(part, DocumentMetadataOverrides()))
bulk_edit.chord(header=parts, body=bulk_edit.delete.si([Document.objects.earliest("pk").pk])).delay()
"""
_TAGS = "from documents.models import Tag; print(Tag.objects.count())"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of the documents."""

    put_in: int
    started: int
    """How often a worker has begun with one."""
    consumed: int
    twice: int
    missing: dict[str, str]
    """The files of the documents that are not in the database, and what has become of each."""
    dead: dict[str, int]
    """The errors of the dead letters."""
    tasks: dict[str, int]

    @property
    def is_good(self) -> bool:
        """Whether each document is there exactly once, but for those that the application has removed too early."""
        are_its_own = all(fate == UNCOMMITTED for fate in self.missing.values())
        return are_its_own and (self.consumed + len(self.missing), self.twice) == (self.put_in, 0)


def run_kills(site: Site, count: int, seed: int) -> Outcome:
    """Put ``count`` text documents in, kill the publisher and the worker, and count the rows in the database.

    Raises:
        AssertionError: it takes too long.
    """
    chance, end = random.Random(seed), time.monotonic() + LONGEST
    texts = {hashlib.md5(text.encode()).hexdigest(): text for text in map(_text, range(count))}
    for number, text in enumerate(texts.values()):
        _file(site, number).write_text(text)
    for _ in range(PUBLISHER_KILLS):
        _kill_at_work(site, chance.uniform(0.0, 0.3), "Adding ", "document_consumer", "--oneshot", end=end)
    site.manage("document_consumer", "--oneshot")
    for _ in range(WORKER_KILLS):
        _kill_at_work(site, chance.uniform(0.0, 2.5), "Consuming ", "tasuki", end=end)
    site.manage("tasuki", "run", "--until-empty")
    found = site.ask(_ROWS)
    return _outcome(site, texts, found)


def publish_in_transaction(site: Site, *, is_killed: bool) -> tuple[int, int]:
    """Publish in a transaction, killed before its commit or not: how many tags and messages there are then."""
    site.start("shell", "--command", _IN_TRANSACTION.format(is_killed=is_killed), log="transaction.log").wait()
    messages = sum(queue["message_count"] for queue in json.loads(site.manage("tasuki", "queues", "--json")))
    return int(site.ask(_TAGS)), messages


def replace_by_parts(site: Site, parts: int) -> int:
    """Consume new documents as a chord that deletes an old one in the end, as the application splits a document.

    Returns how many documents there are more than before: one less than ``parts``.
    """
    before = int(site.ask(_COUNT))
    paths = [site.consume / f"part-{number}.txt" for number in range(parts)]
    for path in paths:
        path.write_text(f"a part of a letter: {path.name}")
    site.manage("shell", "--verbosity", "0", "--command", _CHORD.format(paths=[str(path) for path in paths]))
    site.manage("tasuki", "run", "--until-empty")
    return int(site.ask(_COUNT)) - before


def _text(number: int) -> str:
    return f"Letter number {number}: " + " ".join(f"word{number * 31 + each}" for each in range(200))


def _kill_at_work(site: Site, seconds: float, sign: str, *arguments: str, end: float) -> None:
    """Start a command, and kill it so long after the log has got a new line with ``sign``.

    Raises:
        AssertionError: the command ends before that, or shows no sign.
    """
    before = _lines(site, sign)
    process = site.start(*arguments, log=f"{arguments[0]}.log")
    while _lines(site, sign) == before:
        assert process.poll() is None, f"{arguments[0]} ended by itself; see {site.folder}"
        assert time.monotonic() < end, f"{arguments[0]} does not work; see {site.folder}"
        time.sleep(0.05)
    time.sleep(seconds)
    assert kill(process), f"{arguments[0]} had no work left; put more documents in"


def _lines(site: Site, sign: str) -> int:
    log = site.folder / "data" / "log" / "paperless.log"
    return log.read_text().count(sign) if log.exists() else 0


def _outcome(site: Site, texts: dict[str, str], found: Any) -> Outcome:
    checksums = [
        checksum for checksum, content, has_file in found["documents"] if has_file and texts[checksum] == content
    ]
    letters = _dead(site)
    dead = Counter(str(message["headers"]["x_last_error"]).split(":")[0] for message in letters)
    files = {checksum: _file(site, number) for number, checksum in enumerate(texts)}
    missing = texts.keys() - set(checksums)
    return Outcome(
        put_in=len(texts),
        started=_lines(site, "Consuming "),
        consumed=len(set(checksums)),
        twice=len(found["documents"]) - len(set(checksums)),
        missing={files[each].name: _fate(site, files[each], texts[each], letters) for each in missing},
        dead=dict(dead),
        tasks={state: number for state, number in found["tasks"].items() if number},
    )


def _file(site: Site, number: int) -> Path:
    return site.consume / f"letter-{number}.txt"


def _fate(site: Site, file: Path, text: str, letters: Any) -> str:
    """What has become of a document that is not in the database."""
    of_it = [each for each in letters if each["body"]["input_doc"]["original_file"] == str(file)]
    if not of_it:
        return f"no message of it is left, and its file is {'' if file.exists() else 'not '}where it was put"
    headers = of_it[0]["headers"]
    is_in_media = any(each.read_text() == text for each in (site.folder / "media").rglob("*.txt"))
    is_gone = str(headers["x_last_error"]).startswith("FileNotFoundError") and headers["attempts"] > 1
    return UNCOMMITTED if is_in_media and is_gone and not file.exists() else f"dead: {headers['x_last_error']}"


def _dead(site: Site) -> Any:
    return json.loads(site.manage("tasuki", "peek", "celery.dead", "--limit", "1000", "--json"))
