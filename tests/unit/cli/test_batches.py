"""``tasuki redrive``, ``discard`` and ``batches``: acts on many dead letters."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tasuki import App
from tasuki.cli.commands.queues import redrive as shown
from tasuki.contracts.driver import Outgoing
from tests.unit.cli.conftest import CommandLine


@pytest.fixture
def buried(tasuki: CommandLine, project: Path) -> CommandLine:
    """Five dead letters of two errors."""

    async def bury() -> None:
        async with App.load(project) as app:
            headers: dict[str, Any] = {"x_original_queue": "app:tasks", "x_dead_letter_reason": "rejected"}
            letters = [
                Outgoing(f"m-{n}", b"1", {**headers, "x_last_error": f"{'Key' if n < 2 else 'Value'}Error: {n}"})
                for n in range(5)
            ]
            assert not any(await app._runtime.queue("app:dead").forward(letters))

    asyncio.run(bury())
    return tasuki


def test_letters_are_discarded_and_brought_back(buried: CommandLine, project: Path) -> None:
    done = buried("discard", "dead", "--where", "type == 'KeyError'", "--yes")
    assert (done.returncode, done.stdout) == (0, "2 messages of app:dead deleted\n")
    [batch] = buried.json("batches")
    assert (batch["act"], batch["state"], batch["done"], batch["can_undo"]) == ("delete", "done", 2, True)
    assert buried.json("info", "dead")["ready"] == 3
    one = buried("batches", batch["id"]).stdout
    assert "act" in one
    assert "type == 'KeyError'" in one
    undone = buried("batches", batch["id"], "--undo")
    assert undone.stdout == "undone 2 of 2\n"
    assert buried.json("info", "dead")["ready"] == 5
    again = buried("batches", batch["id"], "--undo")
    assert (again.returncode, "it is brought back, or was" in again.stderr) == (1, True)
    audit = [(each["act"], each["batch"]) for each in _audit(project)]
    assert set(audit) == {("remove", batch["id"]), ("batch", batch["id"])}


def _audit(project: Path) -> list[dict[str, Any]]:
    from tasuki.state import audit

    async def read() -> list[dict[str, Any]]:
        app = App.load(project)
        async with app._runtime.reading():
            [state] = app._runtime.live().states_of_queues()
            found = await audit.read(await state.store())
            return [{"act": each.act, "batch": each.batch} for each in found]

    return asyncio.run(read())


def test_a_redrive_that_is_no_batch_says_what_it_lacks(buried: CommandLine) -> None:
    limited = ("-o", "app:dead:limit=1000/s")
    refused = buried("redrive", "dead", "--canary", "3", *limited)
    assert (refused.returncode, "leave out --background, --as-is and --canary" in refused.stderr) == (1, True)
    assert buried.json("info", "dead")["ready"] == 5
    done = buried("redrive", "dead", *limited)
    assert done.stdout == "5 messages of app:dead sent back\n"
    assert "this is no batch, so no canary stops it and nothing undoes it" in done.stderr


def test_a_question_comes_before_a_discard(buried: CommandLine) -> None:
    done = buried("discard", "dead", stdin=b"n\n")
    assert done.returncode == 1
    assert "Delete 5 messages of app:dead? They can be brought back for 15 minutes." in done.stderr
    assert "nothing was removed; answer y, or give --yes" in done.stderr
    assert "Delete 2 messages of app:dead?" in buried("discard", "dead", "--limit", "2", stdin=b"n\n").stderr
    assert buried.json("info", "dead")["ready"] == 5
    assert buried.json("batches") == []
    assert buried("batches").stdout == "no batches in the last day\n"
    assert buried("discard", "dead", "--id", "m-3", stdin=b"y\n").stdout == "1 message of app:dead deleted\n"


def test_a_batch_for_the_workers(buried: CommandLine) -> None:
    done = buried("redrive", "dead", "--background")
    [batch] = buried.json("batches")
    assert done.stdout == f"batch {batch['id']} is left to the workers; tasuki batches {batch['id']} shows it\n"
    assert (batch["state"], batch["done"], batch["left"]) == ("running", 0, 5)
    paused = buried.json("batches", batch["id"], "--pause")
    assert paused["state"] == "paused"
    left = buried("batches", batch["id"], "--resume", "--background")
    assert "is left to the workers" in left.stdout
    assert buried.json("batches", batch["id"], "--resume")["done"] == 5
    assert buried.json("info", "tasks")["ready"] == 5
    undone = buried.json("batches", batch["id"], "--undo")
    assert (undone["state"], undone["undone"]) == ("undone", 5)
    away = buried.json("discard", "dead", "--background", "--yes")
    assert buried.json("batches", away["batch"], "--cancel")["state"] == "cancelled"


def test_letters_that_are_moved_as_they_are(buried: CommandLine) -> None:
    assert buried("redrive", "dead", "--as-is").returncode == 2
    assert buried.json("redrive", "dead", "--as-is", "--to", "tasks", "--limit", "2")["moved"] == 2
    [first, _] = buried.json("peek", "tasks")
    assert first["headers"]["x_last_error"] == "KeyError: 0"


def test_ids_that_are_not_there_are_told(buried: CommandLine) -> None:
    done = buried("redrive", "dead", "--id", "m-1", "--id", "m-9", "--id", "nope")
    assert (done.returncode, done.stdout) == (0, "1 message of app:dead sent back\n")
    assert "of the ids of --id, 2 waited there no more, or were not chosen by --where" in done.stderr
    assert "of the ids" not in buried("discard", "dead", "--id", "m-2", "--yes").stderr


def test_an_undo_that_was_interrupted_goes_on(
    buried: CommandLine, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    buried("redrive", "dead")
    [batch] = buried.json("batches")
    assert "is left to the workers" in buried("batches", batch["id"], "--undo", "--background").stdout

    async def interrupted() -> None:
        app = App.load(project)
        async with app._runtime.reading():
            task = asyncio.ensure_future(shown.follow(app, await app.dead.batches.get(batch["id"]), "undoing"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(interrupted())
    said = capsys.readouterr().err
    assert "5 done; the undo is left to the workers" in said
    assert f"tasuki batches {batch['id']} --undo goes on" in said
    assert "--resume" not in said
    assert buried("batches", batch["id"], "--undo").stdout == "undone 5 of 5\n"
    assert "T" in next(line for line in buried("batches", batch["id"]).stdout.splitlines() if line.startswith("begun"))


def test_mistakes(buried: CommandLine) -> None:
    assert "is for --resume and --undo" in buried("batches", "7", "--background").stderr
    assert "is for --resume and --undo" in buried("batches", "7", "--pause", "--background").stderr
    assert "there is no batch 7" in buried("batches", "7").stderr
    assert buried("batches", "--undo").returncode == 2
    assert buried("redrive", "dead", "--rate", "-1").returncode == 2
    assert buried("discard", "dead", "--where", "1 +").returncode == 2
    strange = buried("discard", "dead", "--yes", "--id", "\udcff")
    assert (strange.returncode, "--id" in strange.stderr, "no valid Unicode text" in strange.stderr) == (2, True, True)
    assert "tasuki discard" not in buried("discar").stderr


def test_an_interrupt_pauses_the_batch_and_says_how_to_go_on(
    buried: CommandLine, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def interrupted() -> str:
        app = App.load(project)
        async with app._runtime.reading():
            batch = await app.dead.batches.begin("retry", "app:dead", rate=0.5, canary=None)
            task = asyncio.ensure_future(shown.follow(app, batch, "redriving"))
            while not (await app.dead.batches.get(batch.id)).done:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await app.dead.batches.get(batch.id)).state == "paused"
            return batch.id

    id = asyncio.run(interrupted())
    assert f"paused batch {id}: " in (said := capsys.readouterr().err)
    assert f"tasuki batches {id} --resume goes on, tasuki batches {id} --undo takes back what still waits" in said


def test_only_dead_letters_are_discarded(buried: CommandLine) -> None:
    buried("publish", "tasks", "1")

    done = buried("discard", "tasks", "--yes")

    assert done.returncode == 1
    assert "queue 'app:tasks' is no dead-letter queue of this project" in done.stderr
    assert buried.json("info", "tasks")["ready"] == 1


def test_an_id_of_no_worker_is_an_error(buried: CommandLine) -> None:
    done = buried("workers", "elsewhere:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no worker with the id 'elsewhere:1'" in done.stderr
