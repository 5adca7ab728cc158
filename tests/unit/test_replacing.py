from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasuki.system.replacing import replacing, touch


def test_a_file_is_replaced_as_a_whole_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(0o666)
    with replacing(path) as file:
        file.write("new")
        assert path.read_text() == "old"
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)
    with replacing(path, 0o640):
        pass
    assert (path.stat().st_mode & 0o777, os.listdir(tmp_path)) == (0o640, ["x"])


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path):
        raise ZeroDivisionError
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["x"])


def test_a_planted_file_or_link_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: b"\xab")
    target = tmp_path / "target"
    target.write_text("theirs")
    (tmp_path / ".x.ab").symlink_to(target)
    with pytest.raises(FileExistsError), replacing(tmp_path / "x"):
        pass
    assert target.read_text() == "theirs"


def test_touching_makes_a_file_for_its_owner_and_none_behind_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "x", tmp_path / "link"
    touch(path)
    assert path.stat().st_mode & 0o777 == 0o600
    os.utime(path, (1, 1))
    link.symlink_to(path)
    touch(link)
    assert path.stat().st_mtime > 1
    path.unlink()
    with pytest.raises(FileExistsError):
        touch(link)
    assert not path.exists()
