"""Data folders of brokers are made once for a test run."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.brokers import template


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A test run of its own."""
    monkeypatch.setenv("TASUKI_TEST_TEMPLATES", str(tmp_path))
    return tmp_path


def test_callers_at_the_same_time_make_it_once_and_each_gets_a_copy(tmp_path: Path) -> None:
    made: list[Path] = []
    together = threading.Barrier(4)

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "data").mkdir()
        (folder / "data" / "file").write_text("content")

    def copy(number: int) -> str:
        together.wait()
        template.copy("broker", make, tmp_path / str(number))
        return (tmp_path / str(number) / "file").read_text()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(copy, range(4))) == ["content"] * 4
    assert made == [tmp_path / "broker"]


def test_after_a_failure_the_next_caller_makes_it_from_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "data").mkdir()
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        template.copy("broker", fail, tmp_path / "one")
    template.copy("broker", lambda folder: (folder / "data").mkdir(), tmp_path / "two")
    assert (tmp_path / "two").is_dir()
    assert not (tmp_path / "one").exists()
