"""The token that is kept for a project: where, for whom, and when it does not count."""

from __future__ import annotations

import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasuki.cli.worker.admin import Admin
from tasuki.desk.security.access import KeptToken, kept_token
from tests.support.narrow import present


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
def kept(project: Path, environ: dict[str, str]) -> Path:
    """The file of a token."""
    return present(kept_token(project, environ).path)


def is_unkept(found: KeptToken) -> bool:
    return found.path is None and found.problem != "" and re.fullmatch(r"[\w-]{43}", found.text) is not None


def test_it_is_the_same_for_a_project_and_another_for_the_next(
    project: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(project)
    first, again, linked = (kept_token(root, environ) for root in (project, project, tmp_path / "link"))
    assert first == again == linked
    assert (re.fullmatch(r"[\w-]{43}", first.text) is not None, first.problem) == (True, "")
    assert kept_token(tmp_path, environ).text != first.text
    assert list(project.iterdir()) == [], "nothing is written into the project"


def test_only_its_user_can_read_it(kept: Path) -> None:
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert os.listdir(kept.parent) == [kept.name]


def test_whatever_the_mask_of_the_process(project: Path, environ: dict[str, str]) -> None:
    mask = os.umask(0)
    try:
        kept = present(kept_token(project, environ).path)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_one_that_others_could_have_read_is_replaced(
    project: Path, environ: dict[str, str], kept: Path, mode: int
) -> None:
    before = kept.read_text().strip()
    kept.chmod(mode)
    after = kept_token(project, environ)
    assert (after.path, after.text != before) == (kept, True)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "short", "x" * 44, "\0" * 43, "é" * 43, "x" * 10**6])
def test_a_damaged_one_is_replaced(project: Path, environ: dict[str, str], kept: Path, text: str) -> None:
    kept.write_text(text)
    found = kept_token(project, environ)
    assert (found.path, kept.read_text().strip()) == (kept, found.text)
    assert kept_token(project, environ) == found


def test_a_link_in_its_place_is_not_followed(
    project: Path, environ: dict[str, str], kept: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("a" * 43)
    elsewhere.chmod(0o600)
    kept.unlink()
    kept.symlink_to(elsewhere)
    found = kept_token(project, environ)
    assert is_unkept(found)
    assert found.text != "a" * 43
    assert elsewhere.read_text() == "a" * 43

    kept.unlink()
    kept.symlink_to(tmp_path / "nothing")
    assert is_unkept(kept_token(project, environ))
    assert not (tmp_path / "nothing").exists()


def test_a_link_in_the_place_of_its_folder_is_not_followed(
    project: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "state" / "tasuki").mkdir(parents=True)
    (tmp_path / "state" / "tasuki" / "desk").symlink_to(tmp_path / "theirs")
    assert is_unkept(kept_token(project, environ))
    assert list((tmp_path / "theirs").iterdir()) == []


def test_no_pipe_and_no_folder_in_its_place_holds_it_up(project: Path, environ: dict[str, str], kept: Path) -> None:
    kept.unlink()
    os.mkfifo(kept, 0o600)
    assert is_unkept(kept_token(project, environ))
    kept.unlink()
    kept.mkdir()
    assert is_unkept(kept_token(project, environ))


def test_a_folder_that_others_may_write_into_keeps_nothing(project: Path, environ: dict[str, str], kept: Path) -> None:
    kept.parent.chmod(0o777)
    found = kept_token(project, environ)
    assert is_unkept(found)
    assert "other users may write into" in found.problem
    assert found.text != kept.read_text().strip()


def test_another_users_file_does_not_count(
    project: Path, environ: dict[str, str], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    assert is_unkept(kept_token(project, environ))


def test_where_nothing_can_be_written_the_token_is_of_one_process(project: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for environ in ({"XDG_STATE_HOME": str(tmp_path / "file")}, {"HOME": "/proc/nothing"}, {"HOME": "/dev/null"}):
        first, second = kept_token(project, environ), kept_token(project, environ)
        assert is_unkept(first)
        assert first.text != second.text


def test_a_relative_state_folder_does_not_count(project: Path, tmp_path: Path) -> None:
    found = kept_token(project, {"XDG_STATE_HOME": "state", "HOME": str(tmp_path)})
    assert present(found.path).is_relative_to(tmp_path / ".local" / "state")


def test_a_user_without_a_home_has_a_token_all_the_same(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert is_unkept(kept_token(project, {}))


def test_processes_that_start_at_once_agree(project: Path, environ: dict[str, str]) -> None:
    with ThreadPoolExecutor(16) as threads:
        found = set(threads.map(lambda _: kept_token(project, environ), range(64)))
    assert len(found) == 1
    assert len(os.listdir(present(next(iter(found)).path).parent)) == 1


@pytest.mark.parametrize("given", ["t" * 30, "t" * 30 + "\n", " " + "t" * 30])
def test_a_token_of_the_environment_is_read_as_one_of_a_file(
    project: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("TASUKI_ADMIN_TOKEN", given)
    door = Admin("127.0.0.1:0").listen(project)
    door.listening.close()
    assert (door.access.token, door.place) == ("t" * 30, None)
