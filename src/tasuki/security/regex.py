"""Regular expressions in linear time: the Rust engine that pydantic brings along, with the syntax of RE2.

Python's own ``re`` backtracks: ``(a+)+$`` on forty letters would hold up a publish for hours. This engine has no
back-references and no look-around, bounds the size of what it compiles, and takes time in proportion to the text.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

MAX_LENGTH = 1000

Match = Callable[[str], bool]


@lru_cache(1000)
def compile_regex(pattern: str) -> Match:
    """A function that says whether a text has a match in it (``^`` and ``$`` anchor it).

    Raises:
        ValueError: too long, too large once compiled, or not a regular expression that can be run in linear time.
    """
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"a regular expression has {len(pattern)} characters; at most {MAX_LENGTH} are allowed")
    try:
        validator = SchemaValidator(core_schema.str_schema(pattern=pattern, strict=True, regex_engine="rust-regex"))
    except SchemaError as error:
        reason = str(error).strip().splitlines()[-1].strip().removeprefix("error: ")
        raise ValueError(f"{pattern!r} cannot be used as a regular expression: {reason}") from error
    return validator.isinstance_python
