"""Masks: values, documents and texts say the same, and no cut brings a secret back."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tasuki.observe.plain import clean, to_plain
from tasuki.observe.redact import masked, redact

SECRET = "Ω"
"""Only secrets have this letter."""
SHOWN = "shown"

TELLING = st.sampled_from(
    ["password", "apiKey", "api_keys", "user_password_hash", "auth", "secret_value", "jwt", "Cookie", "pass\\u0077ord"]
)
OTHER = st.sampled_from(["author", "tokens_used", "secretary", "n", "user name", "ключ", "note"])
secret_texts = st.text("Ω ab\"'\\{}[]():=,;\n/@", max_size=12).map(lambda text: f"{SECRET}{text}{SECRET}")
open_texts = st.text("abc {}[](),;\n-", max_size=12).map(lambda text: f"{SHOWN} {text}")
secrets = st.recursive(
    secret_texts, lambda inner: st.lists(inner, min_size=1, max_size=2) | st.dictionaries(OTHER, inner, min_size=1)
)
documents = st.recursive(
    open_texts | st.integers() | st.booleans() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(OTHER, inner, max_size=3)
        | st.builds(lambda name, value, rest: {**rest, name: value}, TELLING, secrets, st.dictionaries(OTHER, inner))
    ),
    max_leaves=8,
)


def written(value: Any) -> str:
    r"""The document; a name with ``\u0077`` in it has that escape, as a publisher may write it."""
    return json.dumps(value, ensure_ascii=False).replace("pass\\\\u0077ord", "pass\\u0077ord")


def counted(value: Any) -> int:
    """How often a text is shown."""
    return repr(value).count(SHOWN)


@given(documents)
@example({"n": {"password": {"author": 'Ω"}]Ω'}}, "author": ["shown "]})
def test_a_document_is_masked_as_its_value_is(value: Any) -> None:
    plain = masked(json.loads(written(value)))
    assert SECRET not in repr(plain)
    assert json.loads(redact(written(value))) == plain
    assert counted(plain) == counted(value), "nothing else is masked"


@given(documents)
def test_a_document_within_a_text_is_masked(value: Any) -> None:
    once = json.dumps({"note": written(value), "author": "shown last"}, ensure_ascii=False)
    twice = json.dumps([once], ensure_ascii=False)
    for text in (once, twice, repr(json.loads(written(value)))):
        assert SECRET not in redact(text)
    assert json.loads(redact(once))["author"] == "shown last"


@given(documents, st.integers(0, 400), st.integers(1, 40))
@example({"password": "Ω" * 200, "note": "shown"}, 0, 20)
def test_no_cut_brings_a_secret_back(value: Any, end: int, limit: int) -> None:
    text = written(
        {"a": value, "url": f"redis://user:{SECRET}{SECRET}@host/0", "got": f"Cookie: a={SECRET}; b={SECRET}"}
    )
    assert SECRET not in redact(text[:end])
    assert SECRET not in redact(redact(text)[:end])
    assert SECRET not in clean(text, limit)
    assert len(clean(text, limit)) < limit + 30
    assert SECRET not in repr(to_plain(json.loads(text)))
