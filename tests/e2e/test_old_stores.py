"""Commands of this version open the store of an earlier one, as in a deployment: old data, new program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli_project import notes
from tests.support.old_stores import keeping
from tests.support.old_stores.keeping import Place, place_of
from tests.support.old_stores.project import HELD, write
from tests.support.process import run, run_json

pytestmark = pytest.mark.e2e

FILES = Path(keeping.__file__).parent
LAST = ("sqlite_10.sql", "postgres_22.sql", "redis_5.jsonl", "nats_1.jsonl")
"""As the last version made them. ``python -m tests.support.old_stores.make`` records the next ones."""
_16 = (
    "ALTER TABLE kept_schema.queues DROP COLUMN synchronous_commit; "
    "UPDATE kept_schema.migrations SET version = 16, min_version = 16;"
)
EARLIER = {"postgres_17.sql": "", "postgres_17.sql as of layout 16": _16}
"""That can still be brought up to date, with a change to make of the file; in the last ones a pause is stored too."""


@pytest.fixture(params=[*LAST, *EARLIER])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(store: str, tmp_path: Path) -> Iterator[Place]:
    """The place of the store, and the project beside it."""
    with place_of(store.partition("_")[0], tmp_path) as place:
        text = (FILES / store.partition(" ")[0]).read_text(encoding="utf-8")
        place.load(text + EARLIER.get(store, ""))
        write(tmp_path)
        yield place


def test_info_publish_and_run_find_what_an_earlier_version_stored(place: Place, store: str, tmp_path: Path) -> None:
    """Each message once, in the order of its key; messages of a paused queue after it is resumed."""
    for queue, bodies in HELD.items():
        found = run_json("info", queue, *place.options, folder=tmp_path)
        assert found["message_count"] == len(bodies), found
    for queue in HELD:
        done = run("publish", queue, "9", *place.options, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    worker = ("run", "--until-empty", *place.options)
    if store in LAST:
        done = run(*worker, "--queues", "plain,keyed", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "paused" in run("info", "paused", *place.options, folder=tmp_path).stdout
        assert run("resume", "paused", *place.options, folder=tmp_path).returncode == 0
    done = run(*worker, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    handled = notes(tmp_path)
    assert Counter(handled) == Counter(f"{queue} {body}" for queue in HELD for body in (*HELD[queue], 9))
    keyed = [line for line in handled if line.startswith("app:keyed") and not line.endswith("9")]
    assert keyed == [f"app:keyed {body}" for body in HELD["app:keyed"]]


def test_a_worker_is_the_first_process_of_this_version(place: Place, tmp_path: Path) -> None:
    done = run("run", "--until-empty", "--queues", "plain,keyed", *place.options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    wanted = Counter(f"{queue} {body}" for queue in ("app:plain", "app:keyed") for body in HELD[queue])
    assert Counter(notes(tmp_path)) == wanted
