import os
from pathlib import Path

import pytest

from tasuki.registry.source import MAX_SOURCE_BYTES, Source, load_source, read_text


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "src"
    (root / "jobs").mkdir(parents=True)
    (root / "top.lua").write_text("return 'top'")
    (root / "jobs" / "job.lua").write_text("return 'job'")
    (tmp_path / "secret.lua").write_text("secret")
    return root


def test_a_plain_reference_starts_at_the_folder_and_a_rooted_one_at_the_root(root: Path) -> None:
    jobs = root / "jobs"
    assert load_source("file://job.lua", jobs, root) == Source("return 'job'", jobs / "job.lua")
    assert load_source("file:///top.lua", jobs, root) == Source("return 'top'", root / "top.lua")
    assert load_source("file://../top.lua", jobs, root).text == "return 'top'"


@pytest.mark.parametrize(
    "reference",
    ["file://../secret.lua", "file:///../secret.lua", "file://jobs/../../secret.lua", "file://../../../etc/passwd"],
)
def test_leaving_the_root_is_refused(root: Path, reference: str) -> None:
    with pytest.raises(ValueError, match="leaves the source root"):
        load_source(reference, root, root)


@pytest.mark.parametrize("reference", ["file:///etc/passwd", "file:///proc/self/environ", "file://%2e%2e/secret.lua"])
def test_absolute_and_encoded_paths_are_ordinary_names_inside_the_root(root: Path, reference: str) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        load_source(reference, root, root)


@pytest.mark.parametrize("reference", ["file://", "file:///", "file://a\0b", "file://..\\secret.lua"])
def test_what_names_no_file_is_refused(root: Path, reference: str) -> None:
    with pytest.raises(ValueError, match="does not name a file"):
        load_source(reference, root, root)


def test_symlinks_may_stay_inside_but_not_leave(root: Path) -> None:
    (root / "inner.lua").symlink_to("jobs/job.lua")
    (root / "outer.lua").symlink_to("../secret.lua")
    (root / "away").symlink_to("..")
    assert load_source("file://inner.lua", root, root).text == "return 'job'"
    for reference in ("file://outer.lua", "file://away/secret.lua"):
        with pytest.raises(ValueError, match="leaves the source root"):
            load_source(reference, root, root)


def test_a_link_swapped_in_after_the_check_is_not_followed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.path.realpath

    def check_then_swap(path: str) -> str:
        result = real(path)
        if str(path).endswith("job.lua"):
            Path(path).unlink()
            Path(path).symlink_to("../../secret.lua")
        return result

    monkeypatch.setattr(os.path, "realpath", check_then_swap)
    with pytest.raises(ValueError, match="cannot be read"):
        load_source("file://job.lua", root / "jobs", root)


def test_a_fifo_is_refused_without_waiting(root: Path) -> None:
    os.mkfifo(root / "pipe.lua")
    with pytest.raises(ValueError, match="not a regular file"):
        load_source("file://pipe.lua", root, root)


@pytest.mark.parametrize("name", ["jobs", "."])
def test_a_folder_is_refused(root: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a regular file"):
        load_source(f"file://{name}", root, root)


def test_a_file_as_a_folder_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        load_source("file://top.lua/x.lua", root, root)


def test_the_size_is_limited(root: Path) -> None:
    (root / "large.lua").write_bytes(b" " * MAX_SOURCE_BYTES)
    assert len(load_source("file://large.lua", root, root).text) == MAX_SOURCE_BYTES
    with open(root / "huge.lua", "wb") as file:
        file.truncate(2 * 2**30)
    with pytest.raises(ValueError, match=f"larger than {MAX_SOURCE_BYTES} bytes"):
        load_source("file://huge.lua", root, root)


def test_only_utf_8_is_text(root: Path) -> None:
    (root / "latin.lua").write_bytes(b"ok\n\xe4")
    with pytest.raises(ValueError, match=r"not UTF-8 text \(line 2\)"):
        load_source("file://latin.lua", root, root)
    (root / "marked.lua").write_bytes(b"\xef\xbb\xbfreturn 1")
    assert load_source("file://marked.lua", root, root).text == "return 1"


def test_a_root_that_is_itself_a_link_works(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("src")
    link = tmp_path / "link"
    assert read_text(link / "top.lua", link, 100) == "return 'top'"
