import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasuki.errors import HandlerError, HandlerNotFoundError
from tasuki.handlers.load import load_path, load_source, prepare


@pytest.fixture(autouse=True)
def clean_modules() -> Iterator[None]:
    before, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


class TestPath:
    @pytest.fixture(autouse=True)
    def project(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.syspath_prepend(tmp_path)
        write(tmp_path, "shop/__init__.py", "")
        write(tmp_path, "shop/mail.py", "def send(body): return body\nclass Box:\n    def put(self): pass\n")
        return tmp_path

    def test_a_function(self) -> None:
        assert load_path("shop.mail:send")(5) == 5

    def test_a_member_of_a_class(self) -> None:
        assert load_path("shop.mail:Box.put").__qualname__ == "Box.put"

    @pytest.mark.parametrize("path", ["shop.mail", ":send", "shop.mail:", ""])
    def test_not_a_path(self, path: str) -> None:
        with pytest.raises(HandlerError, match=r"write it like package\.module:function"):
            load_path(path)

    @pytest.mark.parametrize("path", ["shop.post:send", "nowhere.mail:send"])
    def test_no_such_module(self, path: str) -> None:
        with pytest.raises(HandlerNotFoundError, match=r"there is no module '(shop\.post|nowhere)'") as caught:
            load_path(path)
        assert caught.value.kind == "NotFound"

    def test_no_such_name(self) -> None:
        with pytest.raises(HandlerNotFoundError, match=r"shop\.mail has no 'sent'; did you mean 'send'\?"):
            load_path("shop.mail:sent")
        with pytest.raises(HandlerNotFoundError, match=r"shop\.mail has no 'xyzzy'$"):
            load_path("shop.mail:xyzzy")

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("\nimport missing_thing", r"bad\.py:2: cannot import shop\.bad: ModuleNotFoundError"),
            ("\n\n1 / 0", r"bad\.py:3: cannot import shop\.bad: ZeroDivisionError: division by zero"),
            ("def f(:\n", r"bad\.py:1: cannot import shop\.bad: SyntaxError"),
            ("raise SystemExit(3)", r"bad\.py:1: cannot import shop\.bad: SystemExit: 3"),
        ],
    )
    def test_a_module_that_fails(self, project: Path, text: str, problem: str) -> None:
        write(project, "shop/bad.py", text)
        with pytest.raises(HandlerError, match=problem) as caught:
            load_path("shop.bad:f")
        assert "Traceback" in caught.value.traceback or "SyntaxError" in caught.value.traceback
        assert caught.value.__cause__ is not None


class TestSource:
    def test_a_method(self, tmp_path: Path) -> None:
        file = write(tmp_path, "tasks.py", "def a(body): return 'a'\ndef b(body): return 'b'\n")
        assert load_source(file, "b")(1) == "b"
        with pytest.raises(HandlerNotFoundError, match=r"tasks\.py has no 'c'"):
            load_source(file, "c")

    @pytest.mark.parametrize("name", ["json.py", "my tasks-2.v1.py", "__init__.py"])
    def test_it_hides_no_other_module(self, tmp_path: Path, name: str) -> None:
        import json

        function = load_source(write(tmp_path, name, "def f(body): return __name__"), "f")
        assert function(1).startswith("_tasuki_")
        assert sys.modules["json"] is json

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(HandlerNotFoundError, match=r"tasks\.py: No such file"):
            load_source(tmp_path / "tasks.py", "f")

    def test_siblings_can_be_imported(self, tmp_path: Path) -> None:
        write(tmp_path, "sibling_of_tasks.py", "value = 7")
        file = write(tmp_path, "tasks.py", "import sibling_of_tasks\ndef f(body): return sibling_of_tasks.value")
        assert load_source(file, "f")(1) == 7
        assert sys.path[-1] == str(tmp_path)

    def test_two_functions_share_the_module(self, tmp_path: Path) -> None:
        file = write(tmp_path, "tasks.py", "state = []\ndef a(body): return state\ndef b(body): return state\n")
        assert load_source(file, "a")(1) is load_source(file, "b")(1)

    def test_a_changed_file_is_a_new_module_and_the_old_one_goes_on(self, tmp_path: Path) -> None:
        file = write(tmp_path, "tasks.py", "def f(body): return 1")
        old = load_source(file, "f")
        new = load_source(write(tmp_path, "tasks.py", "def f(body): return 2"), "f")
        assert (old(0), new(0)) == (1, 2)

    def test_nothing_is_left_in_the_folder(self, tmp_path: Path) -> None:
        load_source(write(tmp_path, "tasks.py", "def f(body): return 1"), "f")
        assert [file.name for file in tmp_path.iterdir()] == ["tasks.py"]

    def test_tracebacks_show_the_file(self, tmp_path: Path) -> None:
        function = load_source(write(tmp_path, "tasks.py", "def f(body):\n    return body / 0  # here\n"), "f")
        with pytest.raises(ZeroDivisionError) as caught:
            function(1)
        text = "".join(traceback.format_exception(caught.value))
        assert f'{tmp_path}/tasks.py", line 2' in text
        assert "# here" in text

    def test_dataclasses_with_postponed_annotations(self, tmp_path: Path) -> None:
        text = (
            "from __future__ import annotations\nimport dataclasses\n"
            "@dataclasses.dataclass\nclass Task:\n    id: int\ndef f(task: Task): return task\n"
        )
        assert load_source(write(tmp_path, "tasks.py", text), "f").__annotations__["task"] == "Task"

    def test_a_file_that_fails_leaves_no_module(self, tmp_path: Path) -> None:
        before = set(sys.modules)
        with pytest.raises(HandlerError, match=r"tasks\.py:2: cannot import .*tasks\.py: ZeroDivisionError"):
            load_source(write(tmp_path, "tasks.py", "\n1/0"), "f")
        with pytest.raises(HandlerError, match=r"tasks\.py:1: cannot import .*SyntaxError"):
            load_source(write(tmp_path, "tasks.py", "def f(:"), "f")
        with pytest.raises(KeyboardInterrupt):
            load_source(write(tmp_path, "tasks.py", "raise KeyboardInterrupt"), "f")
        assert not {name for name in set(sys.modules) - before if name.startswith("_tasuki_")}


class Callable_:
    def __call__(self, body: Any) -> Any:
        return body


class NeedsArguments(Callable_):
    def __init__(self, url: str) -> None: ...


class TestPrepare:
    def test_functions_and_objects_stay(self) -> None:
        instance = Callable_()
        assert prepare(print, "f") is print
        assert prepare(instance, "f") is instance

    def test_a_class_with_call_becomes_an_object(self) -> None:
        assert isinstance(prepare(Callable_, "f"), Callable_)

    def test_a_class_that_needs_arguments(self) -> None:
        with pytest.raises(HandlerError, match=r"f: cannot make an object of NeedsArguments: .*'url'"):
            prepare(NeedsArguments, "f")

    @pytest.mark.parametrize("target", [5, "text", int, dict])
    def test_no_function(self, target: Any) -> None:
        with pytest.raises(HandlerError, match="is not a function"):
            prepare(target, "f")
