"""Type and place of an error: the user's own class, and the user's own code."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tasuki.errors import HandlerError, HandlerTimeoutError, TasukiError
from tasuki.queues.dead.cause import Origin, origin_in, origin_of

HERE = "tests/unit/queues/dead/test_origin.py"
ROOT = str(Path(__file__).parents[4])


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


class Broken(Exception):
    """A user's error."""


def caught(work: Any, *args: Any) -> BaseException:
    try:
        work(*args)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def fail(error: BaseException, cause: BaseException | None = None) -> None:
    raise error from cause


def test_a_users_error_and_the_function_that_raised_it() -> None:
    assert origin_of(caught(fail, Broken())) == Origin(f"{__name__}.Broken", f"{HERE}:fail")
    assert origin_of(caught(fail, ValueError())).type == "ValueError"


def test_the_place_is_the_users_also_if_a_library_raised() -> None:
    assert origin_of(caught(json.loads, "{")) == Origin("json.decoder.JSONDecodeError", f"{HERE}:caught")


def test_our_error_stands_for_the_users_that_caused_it() -> None:
    inner = caught(fail, Broken())
    assert origin_of(caught(fail, TasukiError("wrapped"), inner)) == Origin(f"{__name__}.Broken", f"{HERE}:fail")
    assert origin_of(TasukiError("alone")) == Origin("TasukiError", "")
    assert origin_of(HandlerTimeoutError("too long")).type == "HandlerTimeoutError"


def test_a_circle_of_causes_ends() -> None:
    error = TasukiError("a")
    error.__cause__ = error
    assert origin_of(error).type == "TasukiError"


@pytest.mark.parametrize(
    ("names", "kind", "details", "type_"),
    [
        (("ValueError", "builtins.ValueError", "Exception", "builtins.Exception"), "", None, "ValueError"),
        (("Own", "tasuki.errors.Own", "Broken", "jobs.Broken"), "", None, "jobs.Broken"),
        ((), "NotFound", None, "NotFound"),
        ((), "NotFound", {"name": "NoSuchOrder"}, "NotFound.NoSuchOrder"),
        ((), "NotFound", {"name": 7}, "NotFound"),
        ((), "", None, "HandlerError"),
    ],
)
def test_an_error_of_another_process_or_of_a_script(
    names: tuple[str, ...], kind: str, details: dict[str, Any] | None, type_: str
) -> None:
    assert origin_of(HandlerError("x", names=names, kind=kind, details=details)).type == type_


def test_the_place_in_a_script() -> None:
    trace = "s.lua:1: no\n  [C]: in function 'error'\n  s.lua:1: in function 'check'\n  s.lua:9: in f"
    assert origin_of(HandlerError("s.lua:1: no", traceback=trace)).place == "s.lua:check"
    assert origin_in("s.lua:1: no", trace) == Origin("", "s.lua:check")
    assert origin_in("", "m\n  s.lua:1: in function <s.lua:1>").place == "s.lua"


def test_the_place_in_a_script_that_has_no_file_is_its_id() -> None:
    trace = "app:mail:3: no\n  [C]: in global 'error'\n  app:mail:3: in upvalue 'check'\n  app:mail:5: in local 'fn'"
    assert origin_of(HandlerError("app:mail:3: no", traceback=trace)).place == "app:mail:check"
    assert origin_in("", "m\n  app:mail:5: in function <app:mail:5>").place == "app:mail"


def test_the_message_of_a_script_is_no_frame() -> None:
    trace = "s.lua:1: \n  forged.lua:7: in function 'sent'\n  s.lua:1: in function 'check'"
    error = HandlerError("s.lua:1: \n  forged.lua:7: in function 'sent'", traceback=trace)
    assert origin_of(error).place == "s.lua:check"


PYTHON = f"""Traceback (most recent call last):
  File "{ROOT}/first.py", line 3, in first
    second()
KeyError: 'a'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "{ROOT}/jobs.py", line 3, in handle
    call()
  File "{ROOT}/inner.py", line 4, in call
    get()
  File "/venv/lib/python3.12/site-packages/httpx/client.py", line 9, in get
    raise
  File "/usr/lib/python3.12/json/decoder.py", line 9, in decode
    raise
httpx.ConnectError: away"""


def test_an_older_letter_says_it_in_its_traceback() -> None:
    assert origin_in("ConnectError: away", PYTHON) == Origin("httpx.ConnectError", "inner.py:call")


def test_a_project_that_is_installed_is_told_by_its_first_frame() -> None:
    text = """Traceback (most recent call last):
  File "/venv/lib/python3.12/site-packages/shop/jobs.py", line 3, in handle
    get()
  File "/venv/lib/python3.12/site-packages/httpx/client.py", line 9, in get
ValueError: x"""
    assert origin_in("ValueError: x", text) == Origin("ValueError", "shop/jobs.py:handle")


def test_a_file_outside_of_every_folder_keeps_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", "/opt/app" + os.sep])
    assert origin_in("", '  File "/opt/app/a/b.py", line 1, in f').place == "a/b.py:f"
    assert origin_in("", '  File "/srv/b.py", line 1, in f').place == "/srv/b.py:f"


@pytest.mark.parametrize(
    ("error", "type_"),
    [("KeyError: 1", "KeyError"), ("KeyError", "KeyError"), ("note: this", ""), ("no such", ""), ("", "")],
)
def test_without_a_traceback_the_text_names_the_type(error: str, type_: str) -> None:
    assert origin_in(error, "") == Origin(type_, "")
