"""Errors between Lua and Python."""

from __future__ import annotations

import pytest

from tasuki.errors import CodecError, HandlerError, PolicyDeniedError
from tasuki.handlers.lua.host.errors import describe, limited, raised, returned, script_trace
from tasuki.handlers.lua.script import LuaLimits


def test_what_a_host_function_failed_with() -> None:
    assert describe(HandlerError("m", kind="K", details={"a": 1})) == {"message": "m", "kind": "K", "details": {"a": 1}}
    assert describe(PolicyDeniedError("no")) == {
        "message": "no",
        "kind": "Invalid",
        "retryable": False,
        "details": {"reason": "permission_denied"},
    }
    assert describe(CodecError("bad"))["message"] == "bad"
    assert describe(OSError("disk"))["message"] == "OSError: disk"


def test_details_that_are_no_mapping_are_left_out() -> None:
    assert returned((3, "m", "K", None, "A", 1, 5)).details is None
    assert raised((4, "m", "trace", "K", None, "O", 1, "a", 2)).details == {"a": 2}


def test_the_frames_of_the_host_are_left_out() -> None:
    trace = "stack traceback:\n\t[C]: in function 'error'\n\ts.lua:1: in f\n\thost:5: in g\n\t[C]: in ?"
    assert script_trace("m", trace) == "m\n  [C]: in function 'error'\n  s.lua:1: in f"


def test_a_limit_is_told_with_its_place() -> None:
    error = limited((5, "memory", "s.lua:1: ", ""), LuaLimits(memory=2**20))
    assert str(error) == "s.lua:1: the script needs more than its 1MiB of memory"
    with pytest.raises(type(error)):
        raise error


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("json", '; json is a module: write local json = require("json"), and list it in modules of the entry'),
        ("io", "; the sandbox has no io"),
        ("mine", ""),
    ],
)
def test_a_global_that_is_not_there_has_a_remedy(name: str, hint: str) -> None:
    text = f"s.lua:1: attempt to index a nil value (global '{name}')"
    error = raised((4, text, "trace", None, None, None))
    assert (str(error), error.traceback) == (text + hint, text + hint)
    wrapped = raised((4, text + " at last", "trace", None, None, None))
    assert str(wrapped) == text + " at last"
