"""Any body comes back as it was, and any header; what would not is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasuki.errors import CodecError, HandlerError, PublishError
from tasuki.message import is_reserved
from tasuki.queues.messages.codec import BytesCodec, JsonCodec, MsgpackCodec
from tasuki.queues.messages.headers import MAX_HEADER_BYTES, check_headers

json, msgpack = JsonCodec(), MsgpackCodec()

texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=30)


def same(left: Any, right: Any) -> bool:
    """Equal, and of equal types: 1 is not 1.0 and not True, [] is not {}, 0.0 is not -0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return bool(left == right)


@pytest.mark.parametrize("codec", [json, msgpack])
@given(values)
def test_a_body_comes_back_as_it_was(codec: JsonCodec | MsgpackCodec, value: Any) -> None:
    assert same(codec.decoder()(codec.encode(value)), value)


@given(
    st.recursive(scalars | st.binary(), lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=30)
)
def test_messagepack_carries_bytes_too(value: Any) -> None:
    assert same(msgpack.decoder()(msgpack.encode(value)), value)


@given(st.binary())
def test_bytes_are_bytes(body: bytes) -> None:
    assert BytesCodec().decoder()(BytesCodec().encode(body)) == body


not_finite = st.sampled_from([math.nan, math.inf, -math.inf])


@given(
    st.recursive(
        not_finite,
        lambda inner: (
            st.tuples(values, inner).map(list)
            | st.tuples(inner, values)
            | st.fixed_dictionaries({"a": values, "b": inner})
        ),
        max_leaves=5,
    )
)
def test_json_never_turns_a_number_into_null(value: Any) -> None:
    with pytest.raises(CodecError, match="not finite"):
        json.encode(value)


@pytest.mark.parametrize("codec", [json, msgpack])
@given(st.binary(max_size=200))
def test_any_bytes_become_a_value_or_a_codec_error(codec: JsonCodec | MsgpackCodec, body: bytes) -> None:
    try:
        codec.decoder()(body)
    except (CodecError, HandlerError):
        pass


names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20).filter(
    lambda name: not is_reserved(name)
)
header_values = (
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | texts
)


@given(st.dictionaries(names, header_values, max_size=20))
def test_headers_are_copied_unchanged(headers: dict[str, Any]) -> None:
    checked = check_headers(headers)
    assert checked is not headers
    assert same(checked, headers)
    assert sum(len(name) for name in headers) <= MAX_HEADER_BYTES


anything = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(), st.lists)


@given(st.dictionaries(st.text() | st.integers() | st.binary(), anything, max_size=5) | anything)
def test_headers_of_any_kind_are_carried_or_refused(headers: Any) -> None:
    try:
        checked = check_headers(headers)
    except PublishError:
        return
    for name, value in checked.items():
        assert type(name) is str
        assert type(value) in (bool, int, float, str)
        assert not is_reserved(name)
        assert json.decoder()(json.encode({name: value})) == {name: value}
