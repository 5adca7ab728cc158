"""What an expression demands of one name, so that an index can be used."""

from __future__ import annotations

import pytest

from tasuki.security.expressions.expression import Demand, demand_of


@pytest.mark.parametrize(
    ("expression", "demand"),
    [
        ("cause == 'a'", ("a", True)),
        ("'a' == cause", ("a", True)),
        ("cause == `a` && age > 60", ("a", False)),
        ("(age > 60 || attempts > 3) and cause == 'a' && not (id == 'x')", ("a", False)),
        ("queue in ['a', 'b'] && cause == 'a'", ("a", False)),
        ("cause == 'a' && cause == 'b'", ("a", False)),
        ("cause == 'a' || age > 60", None),
        ("age > 60 && cause == 'a' or attempts > 3", None),
        ("age > 60 ? cause == 'a' : cause == 'b'", None),
        ("not cause == 'a'", None),
        ("!(cause == 'a')", None),
        ("(cause == 'a')", None),
        ("cause != 'a'", None),
        ("cause == 5", None),
        ("cause == place", None),
        ("headers.cause == 'a'", None),
        ("cause ?? 'a' == 'a'", None),
        ("type == 'a'", None),
        ("age > 60", None),
    ],
)
def test_only_what_must_hold_is_a_demand(expression: str, demand: tuple[str, bool] | None) -> None:
    assert demand_of(expression, "cause") == (None if demand is None else Demand(*demand))
