"""Secrets of an edited body: masked for who may not see them, and as they were once it is sent."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.dead.editing.problems import EditError
from tasuki.dead.editing.secrets import hidden, revealed

ORIGINAL = """{
  "to": "a",
  "amount": 1.10,
  "password": "hunter2",
  "users": [
    {"name": "x", "token": "first-token"},
    {"name": "y", "token": "second-token"}
  ],
  "credentials": {"user": "u", "pin": 1234},
  "dsn": "postgres://me:hunter2@db/shop"
}"""


def test_secrets_are_masks_and_the_rest_stays_as_it_is_written() -> None:
    shown = hidden(ORIGINAL)
    assert shown is not None
    assert not any(secret in shown for secret in ("hunter2", "first-token", "second-token", "1234"))
    assert '"amount": 1.10,' in shown, "numbers keep their digits"
    assert '"password": "***"' in shown
    assert '"token": "*** (2)"' in shown
    assert '"credentials": "***"' in shown
    assert revealed(shown, ORIGINAL) == ORIGINAL


def test_a_changed_body_keeps_the_secrets_that_were_not_changed() -> None:
    shown = hidden(ORIGINAL)
    assert shown is not None
    edited = shown.replace('"to": "a"', '"to": "b"').replace('"password": "***"', '"password": "new"')
    edited = edited.replace('    {"name": "x", "token": "***"},\n', "")
    sent = json.loads(revealed(edited, ORIGINAL))
    assert (sent["to"], sent["password"]) == ("b", "new")
    assert sent["users"] == [{"name": "y", "token": "second-token"}], "not the one that was first"
    assert sent["credentials"] == {"user": "u", "pin": 1234}


@pytest.mark.parametrize(
    "edited",
    ['{"name": "***"}', '{"password": "*** (2)"}', '["***"]', '{"other": {"password": "***"}}', '{"note": "is ***"}'],
)
def test_a_mask_elsewhere_becomes_nothing_and_is_a_mistake(edited: str) -> None:
    """Else who may not see a secret could copy it to where it is shown."""
    with pytest.raises(EditError) as told:
        revealed(edited, ORIGINAL)
    assert "stands for a secret" in told.value.problems[0].text
    assert "hunter2" not in str(told.value)


def test_a_text_whose_secrets_cannot_be_told_apart_is_not_shown() -> None:
    assert hidden("password=hunter2") is None
    assert hidden('{"password": "hunter2", "password": ""}') is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "password", "token", "b,:]", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(VALUES, st.sampled_from([None, 2]))
def test_what_is_not_changed_comes_back_as_it_was(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    shown = hidden(text)
    assert shown is None or "***" in text or revealed(shown, text) == text
