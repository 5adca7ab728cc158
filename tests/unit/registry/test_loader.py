import os
from pathlib import Path

import pytest

from tasuki.errors import Position
from tasuki.registry.entry import Entry, Registry
from tasuki.registry.loader import (
    MAX_FILE_BYTES,
    MAX_SOURCE_BYTES,
    Loaded,
    Source,
    assemble,
    load,
    load_source,
    read_text,
)

FILE = 'version: "1.0"\nnamespace: {}\nentries:\n  - name: one\n    kind: k\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one, so that positions are short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, text: str, **fields: object) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "".join(f"    {key}: {value}\n" for key, value in fields.items()))


def ids(loaded: Loaded) -> list[str]:
    assert loaded.errors == []
    return list(loaded.registry.entries)


def problems(loaded: Loaded) -> list[str]:
    return list(map(str, loaded.errors))


def test_every_yaml_file_is_read_but_not_those_of_others(project: Path) -> None:
    write("_index.yaml", FILE.format("top"))
    write("sub/deep/more.yml", FILE.format("deep"))
    write(".hidden/x.yaml", FILE.format("hidden"))
    write("sub/node_modules/x.yaml", FILE.format("modules"))
    write("notes.txt", FILE.format("text"))
    write("compose.yaml", "services: {web: {image: x}}\n")
    write("chart.yaml", "metadata:\n  namespace: {{ .Values.x }}\n---\na: [")
    loaded = load(Path())
    assert ids(loaded) == ["top:one", "deep:one"]
    assert loaded.registry.root == Path()
    assert loaded.registry.source_root == Path()


def test_file_names_begin_as_the_target_does(project: Path) -> None:
    write("p/q/a.yaml", "namespace: app\nentries: 5\n")
    assert problems(load(Path("p"))) == [
        "p/q/a.yaml:2:1: entries is a list of entries; begin each entry with a dash: - name: tasks"
    ]


def test_a_single_file_is_a_project_too(project: Path) -> None:
    write("p/a.yaml", FILE.format("a"), source="file://x.lua")
    write("p/b.yaml", FILE.format("b"))
    write("p/x.lua", "return 1")
    loaded = load(Path("p/a.yaml"))
    assert ids(loaded) == ["a:one"]
    assert loaded.registry.entries["a:one"].data["source"] == Source("return 1", project / "p/x.lua")
    assert loaded.registry.root == Path("p")


def test_a_target_that_does_not_exist(project: Path) -> None:
    assert problems(load(Path("gone"))) == ["gone: there is no such file or folder"]


@pytest.mark.parametrize("lock", ["directories: {src: ./code}\n", "directories:\n  modules: .wippy\n  src: code\n"])
def test_wippy_lock_names_the_source_root(project: Path, lock: str) -> None:
    write("wippy.lock", lock)
    write("code/a.yaml", FILE.format("a"), source="file:///lib/x.lua")
    write("code/lib/x.lua", "return 1")
    write("elsewhere.yaml", FILE.format("b"))
    loaded = load(Path())
    assert ids(loaded) == ["a:one"]
    assert loaded.registry.entries["a:one"].data["source"].text == "return 1"
    assert (loaded.registry.root, loaded.registry.source_root) == (Path(), Path("code"))


@pytest.mark.parametrize("lock", ["", "directories: {modules: .wippy}\n", "directories: x\n", "modules: []\n"])
def test_the_source_root_is_src_if_the_lock_names_none(project: Path, lock: str) -> None:
    write("wippy.lock", lock)
    write("src/a.yaml", FILE.format("a"))
    assert ids(load(Path())) == ["a:one"]


@pytest.mark.parametrize(
    ("lock", "expected"),
    [
        ("directories:\n  src: ../x\n", "wippy.lock:2:3: the source folder '../x' is outside the project"),
        ("directories:\n  src: gone\n", "wippy.lock:2:3: the source folder 'gone' does not exist"),
        ("a: 1\na: 2\n", "wippy.lock:2:1: this key is given twice: line 1 has it already"),
        ("a: [", "wippy.lock:2:1: this is not YAML: did not find expected node content"),
    ],
)
def test_a_bad_lock_is_reported(project: Path, lock: str, expected: str) -> None:
    write("src/a.yaml", FILE.format("a"))
    write("wippy.lock", lock)
    assert expected in problems(load(Path()))


def test_a_lock_that_cannot_be_read(project: Path) -> None:
    write("src/a.yaml", FILE.format("a"))
    Path("wippy.lock").mkdir()
    assert problems(load(Path())) == ["wippy.lock: file 'wippy.lock' cannot be read: it is not a regular file"]


def test_files_that_cannot_be_text(project: Path) -> None:
    Path("latin.yaml").write_bytes(b"namespace: \xe4\n")
    Path("utf16.yaml").write_bytes("namespace: app\n".encode("utf-16"))
    with open("huge.yaml", "wb") as file:
        file.truncate(50 * 2**20)
    os.mkfifo("pipe.yaml")
    Path("out.yaml").symlink_to("/etc/passwd")
    assert sorted(problems(load(Path()))) == [
        f"huge.yaml: file 'huge.yaml' is larger than {MAX_FILE_BYTES} bytes",
        "latin.yaml: file 'latin.yaml' is not UTF-8 text (line 1)",
        "out.yaml: 'out.yaml' leaves the source root",
        "pipe.yaml: file 'pipe.yaml' cannot be read: it is not a regular file",
        "utf16.yaml: file 'utf16.yaml' is not UTF-8 text (line 1)",
    ]


def test_a_byte_order_mark_does_no_harm(project: Path) -> None:
    Path("a.yaml").write_bytes(b"\xef\xbb\xbf" + FILE.format("a").encode())
    assert ids(load(Path())) == ["a:one"]


def test_ids_are_unique_across_files(project: Path) -> None:
    write("a.yaml", FILE.format("app"), v=1)
    write("b.yaml", FILE.format("app"), v=2)
    loaded = load(Path())
    assert problems(loaded) == ["b.yaml:4:5: app:one: entry 'app:one' is already defined at a.yaml:4:5"]
    assert loaded.registry.entries["app:one"].data == {"v": 1}


@pytest.mark.parametrize("name", ["-x", ".x", "a b", "a:b", "a/../x", "e\u0301", "処 理", "a\\n", "x" * 256, ""])
def test_names_are_restricted(project: Path, name: str) -> None:
    write("a.yaml", f'namespace: app\nentries:\n  - name: "{name}"\n    kind: k\n')
    [error] = load(Path()).errors
    assert "is not a valid name" in error.problem
    assert error.position == Position("a.yaml", 3, 5)


def test_a_name_that_begins_with_the_namespace(project: Path) -> None:
    write("a.yaml", "namespace: app\nentries:\n  - {name: 'app:one', kind: k}\n")
    assert problems(load(Path())) == [
        "a.yaml:3:6: 'app:one' is not a valid name; the file's namespace goes before it: write one"
    ]


def test_a_file_that_is_named_and_declares_nothing_is_an_error(project: Path) -> None:
    write("p/a.yaml", 'version: "1.0"\nentries: []\n')
    write("jobs.py", "app = App()\n")
    needs = "a project's file needs version, namespace and entries"
    python = "for an app in Python write jobs:app, with the name of your App"
    assert problems(load(Path("p/a.yaml"))) == [f"p/a.yaml: the file declares no entries; {needs}"]
    assert problems(load(Path("jobs.py"))) == [f"jobs.py: the file declares no entries; {python}"]
    assert problems(load(Path("jobs"))) == [f"jobs: there is no such file or folder; {python}"]
    assert problems(load(Path("p"))) == []


def test_entries_that_are_skipped_are_known(project: Path) -> None:
    write("a.yaml", 'version: "1.0"\nentries:\n  - {name: q, kind: queue.queue}\n')
    write("b.yaml", "entries:\n  - {name: q}\n")
    loaded = load(Path())
    assert (problems(loaded), loaded.registry.nameless) == ([], (Position("a.yaml", 2, 1),))


def test_a_bad_namespace_is_reported_once(project: Path) -> None:
    write("a.yaml", 'namespace: "a b"\nentries:\n  - {name: x, kind: k}\n  - {name: y, kind: k}\n')
    [error] = load(Path()).errors
    assert error.problem == "'a b' is not a valid namespace"


def test_a_namespace_with_a_colon_is_reported_at_its_place_alone(project: Path) -> None:
    write("a.yaml", 'namespace: "a:b"\nentries:\n  - {name: x, kind: k}\n  - {name: y, kind: k}\n')
    hint = "a colon ends the namespace in an id: write it with dots, like shop.mails"
    assert problems(load(Path())) == [f"a.yaml:1:1: 'a:b' is not a valid namespace; {hint}"]


def test_overrides_come_before_placeholders_and_sources(project: Path) -> None:
    write("a.yaml", FILE.format("app"), source="file://gone.lua", port="${env:NONE}")
    write("x.lua", "return 1")
    overrides = ["app:one:source=${env:FILE}", "app:one:port=5", "app:two:x=1"]
    loaded = load(Path(), overrides=overrides, environ={"FILE": "file://x.lua"})
    assert problems(loaded) == ["-o app:two:x: app:two: entry 'app:two' is not defined; did you mean 'app:one'?"]
    assert loaded.registry.entries["app:one"].data == {"source": Source("return 1", project / "x.lua"), "port": 5}


def test_the_process_environment_is_the_default(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASUKI_TEST_PORT", "25")
    write("a.yaml", FILE.format("app"), port="${env:TASUKI_TEST_PORT}")
    assert load(Path()).registry.entries["app:one"].data == {"port": "25"}


def test_a_source_that_leaves_the_root_is_refused(project: Path) -> None:
    write("p/a.yaml", FILE.format("app"), source="file://../secret.lua")
    write("secret.lua", "return 1")
    assert problems(load(Path("p"))) == ["p/a.yaml:6:5: app:one: 'p/../secret.lua' leaves the source root"]


def test_inline_source_and_other_values_stay_as_they_are(project: Path) -> None:
    write("a.yaml", FILE.format("app"), source="return 1", url="file://x")
    assert load(Path()).registry.entries["app:one"].data == {"source": "return 1", "url": "file://x"}


def test_entries_declared_in_code_join_those_of_the_files(project: Path) -> None:
    write("a.yaml", FILE.format("app"))
    entry = Entry("code:two", "function.python", {}, positions={(): Position("app.py", 9)}, target=len)
    loaded = load(Path(), declared=[entry], overrides=["code:two:method=x"])
    assert ids(loaded) == ["app:one", "code:two"]
    assert loaded.registry.entries["code:two"].target is len
    assert loaded.registry.entries["code:two"].data == {"method": "x"}


def test_entries_from_code_alone(project: Path) -> None:
    write("x.lua", "return 1")
    entries = [Entry("app:a", "k", {"source": "file://x.lua"}), Entry("app:a", "k", {}), Entry("app:b c", "k", {})]
    loaded = assemble(entries, Registry(root=project), environ={})
    assert loaded.registry.entries["app:a"].data["source"].text == "return 1"
    assert problems(loaded) == [
        "app:a: entry 'app:a' is already defined",
        "'b c' is not a valid name; use letters and digits of any language, '_', '-' and '.', at most 255 bytes, "
        "not '-' or '.' first",
    ]


@pytest.mark.parametrize("key", ["namespce", "name_space", "Namespace", "namepsace", "namespaces"])
def test_a_misspelt_namespace_is_an_error_at_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text(f'version: "1.0"\n{key}: app\nentries:\n  - {{name: q, kind: queue.queue}}\n')
    assert problems(load(Path())) == [
        f"p.yaml:2:1: the file has entries and no namespace, but {key!r}; did you mean 'namespace'?"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "name: app\nentries:\n  - {name: q, kind: queue.queue}\n",
        "namespce: app\nentries:\n  - {name: q}\n",
        "namespce: app\nentries: [1]\n",
        "namespce: app\nentries: {a: 1}\n",
        "namespce: app\nentries: {{ .Values.entries }}\n",
        "namespce: app\nother:\n  entries:\n    - {kind: x}\n",
        "",
    ],
)
def test_a_file_of_others_stays_unjudged(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    assert problems(load(tmp_path)) == []


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
