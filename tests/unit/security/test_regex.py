import time

import pytest

from tasuki.security.regex import MAX_LENGTH, compile_regex


def test_it_searches_and_anchors_where_it_is_told_to() -> None:
    assert compile_regex("oc")("doc:1")
    assert compile_regex("^doc:")("doc:1")
    assert not compile_regex("^oc")("doc:1")
    assert not compile_regex("^doc$")("doc\n")
    assert compile_regex("^dóc$")("dóc")
    assert not compile_regex("doc")("\ud800doc")


@pytest.mark.parametrize("bomb", ["^(a+)+$", "^(a|aa)+$", "^(a|a?)+$", "(.*a){20}b", "^((a*)*)*$"])
def test_no_pattern_takes_more_than_time_in_proportion(bomb: str) -> None:
    matches = compile_regex(bomb)
    start = time.thread_time()
    matches("a" * 20_000 + "!")
    assert time.thread_time() - start < 1


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "unclosed group"),
        ("(?=x)", "look-around, including look-ahead and look-behind, is not supported"),
        (r"(a)\1", "backreferences are not supported"),
        ("a{1000}{1000}{1000}", "size limit"),
        ("x" * (MAX_LENGTH + 1), "a regular expression has 1001 characters"),
    ],
)
def test_what_cannot_be_used(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        compile_regex(pattern)
